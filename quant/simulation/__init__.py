"""The network with a quantizer at every site."""
