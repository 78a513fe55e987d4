"""Quantization-aware training: quantizers learn their grids while the network learns."""
