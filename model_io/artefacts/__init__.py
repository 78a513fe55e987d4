"""The files that a user exports."""
