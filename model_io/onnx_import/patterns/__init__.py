"""Groups of ONNX nodes that form one operator."""
