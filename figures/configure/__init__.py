"""Plots beside the configuration."""
