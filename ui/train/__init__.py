"""The page Train: the cost of a training, the expected gain, and the progress."""
