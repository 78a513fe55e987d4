"""Bits chosen layer by layer: the front of accuracy against cost."""
