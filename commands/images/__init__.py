"""The command images: how many are enough to calibrate, and to decide."""
