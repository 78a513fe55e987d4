"""Tensors that a device recorded, beside the simulation: where they part, and why."""
