"""Networks and chips whose cost was measured: what the estimates are checked against."""
