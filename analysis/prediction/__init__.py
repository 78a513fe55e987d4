"""Predicted accuracy of unmeasured configurations."""
