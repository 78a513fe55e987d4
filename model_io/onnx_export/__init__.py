"""The float network written as ONNX."""
