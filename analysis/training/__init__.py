"""Training as a job: which images train, watch and score; what it gains over repair."""
