"""Pictures of a training: its curves."""
