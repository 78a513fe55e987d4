"""The loss from each layer, quantized alone."""
