"""Statistics of tensors, and the ranges chosen from them."""
