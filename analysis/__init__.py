"""Questions asked of a model; every answer is a frozen result."""
