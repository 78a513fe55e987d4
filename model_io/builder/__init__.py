"""Networks that a person's own Python builds."""
