"""The mathematics of quantization; torch, and nothing above it."""
