"""Colours, units and layout that all plots share."""
