"""The exported network, and a check of the export in ONNX Runtime."""
