"""The choices of the user: the workspace and its parts."""
