"""The report as a single HTML file: offline, with interactive plots, ready for print on A4."""

from figures.document.page import render_report

__all__ = ["render_report"]
