"""How many calibration images are enough, and which of them alone move a range."""
