"""The ONNX graph as a program in order, its constants folded."""
