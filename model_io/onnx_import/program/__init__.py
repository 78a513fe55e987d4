"""The ONNX graph as an ordered program with folded constants."""
