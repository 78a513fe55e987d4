"""Experiments, runs, and the store of runs."""
