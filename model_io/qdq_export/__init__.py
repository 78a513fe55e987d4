"""The quantized network written as ONNX with Q/DQ pairs."""
