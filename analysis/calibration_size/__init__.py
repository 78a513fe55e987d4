"""The sufficient number of calibration images, and images that alone move a range."""
