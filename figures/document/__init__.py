"""The report as one HTML file: no network, plots interactive, prints to A4."""

from figures.document.page import render_report

__all__ = ["render_report"]
