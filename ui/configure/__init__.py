"""The page Configure."""
