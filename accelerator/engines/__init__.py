"""Engines whose time does not follow from an array's unrolled loops."""
