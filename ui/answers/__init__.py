"""Results on several pages, computed once."""
