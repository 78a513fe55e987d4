"""Networks of the project: builders, weights, data, and training."""
