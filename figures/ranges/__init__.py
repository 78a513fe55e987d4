"""Plots of weights and activations under their encodings."""
