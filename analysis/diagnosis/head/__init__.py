"""The head of a detector: its parts, their ranges, and the repairs of a mix of ranges."""
