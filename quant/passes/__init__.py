"""Passes: frozen dataclasses that take a graph and give a better one."""
