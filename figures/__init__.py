"""Pictures of results: every function is pure and returns a plotly Figure."""

from figures.style.layout import takeaway

__all__ = ["takeaway"]
