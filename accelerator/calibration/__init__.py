"""Fitting a machine to measurements of a board, and trust in the fit."""
