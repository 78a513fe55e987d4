"""The ONNX file: opened, checked, and rewritten to one form."""
