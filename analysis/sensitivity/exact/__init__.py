"""Exact answers: one forward pass for each layer, from where the layer stands."""
