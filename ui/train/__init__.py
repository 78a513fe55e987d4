"""The page Train: what it costs, what it is expected to gain, and how it goes."""
