"""Scores of a quantized network beside the float network."""
