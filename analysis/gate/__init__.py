"""Conditions on a run: holds, broken, or too few images to decide."""
