"""The contents of a report, from a run and the known facts; no plots, no HTML."""
