"""What a report says, gathered from a run and all that is known around it; no plots, no HTML."""
