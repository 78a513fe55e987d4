"""The state of a training on the disk, and as a pass."""
