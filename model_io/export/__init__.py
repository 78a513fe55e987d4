"""How a quantized network leaves: ONNX with Q/DQ, and the float ONNX that other formats name."""
