"""How a model comes in: checked `.pt2` archives, safetensors with a builder, the samples."""
