"""Read ONNX files: bounded, folded by our own operators, checked beside ONNX Runtime."""
