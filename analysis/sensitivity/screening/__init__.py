"""Estimates of every layer from a few backward passes."""
