"""Tensors recorded by a device, beside the simulation: the first difference, and the reason."""
