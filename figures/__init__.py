"""Pictures of results: pure functions that return a plotly Figure."""

from plotly.graph_objects import Figure

from figures.style.layout import takeaway

__all__ = ["Figure", "takeaway"]
