"""What is exported, and a check of it in ONNX Runtime."""
