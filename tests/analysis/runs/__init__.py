"""Tests of analysis/runs."""
