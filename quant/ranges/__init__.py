"""Statistics of tensors, and ranges chosen from statistics."""
