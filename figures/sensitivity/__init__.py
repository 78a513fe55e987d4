"""Plots of the cost of quantizing a layer."""
