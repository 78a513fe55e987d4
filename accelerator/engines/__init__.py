"""Engines with timing independent of an array's unrolled loops."""
