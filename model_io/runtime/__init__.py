"""Files run in ONNX Runtime."""
