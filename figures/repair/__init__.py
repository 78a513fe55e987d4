"""Plots of what repairs did."""
