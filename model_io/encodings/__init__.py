"""Encodings of tensors in the file formats of other tools."""
