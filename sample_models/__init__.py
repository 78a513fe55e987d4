"""Networks that come with the project: builders, weights, data, and how they were made."""
