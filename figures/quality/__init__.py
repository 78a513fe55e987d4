"""Plots of accuracy and error."""
