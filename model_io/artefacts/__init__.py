"""The files that a person takes home."""
