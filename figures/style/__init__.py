"""Colours, units and layout of the plots."""
