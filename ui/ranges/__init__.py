"""The page Ranges."""
