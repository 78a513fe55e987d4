"""Plots of energy, latency and memory."""
