"""Conditions that a run must keep: holds, broken, or too few images to tell."""
