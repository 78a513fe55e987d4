"""Exact answers: one forward pass for each layer, from the layer's place on."""
