"""Quantization-aware training: quantizers learn encodings while the network learns."""
