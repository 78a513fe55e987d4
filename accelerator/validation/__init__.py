"""Networks and chips with measured cost, to check the estimates."""
