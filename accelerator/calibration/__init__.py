"""Fitting a machine to measurements of a board, and how far to trust what comes out."""
