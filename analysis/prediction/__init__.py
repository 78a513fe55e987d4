"""Predicted accuracy of configurations that nobody has measured."""
