"""Fast execution: fused kernels and compiled programs."""
