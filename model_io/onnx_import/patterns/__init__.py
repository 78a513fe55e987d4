"""Groups of ONNX nodes that are one operator."""
