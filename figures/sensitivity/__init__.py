"""Plots of what each layer costs."""
