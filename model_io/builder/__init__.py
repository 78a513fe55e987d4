"""Networks that a user's Python function builds."""
