"""Training as a job: images for training, watching and scoring; the gain over repair."""
