"""What a person chose: the workspace and its parts."""
