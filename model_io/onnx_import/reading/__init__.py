"""The ONNX file: opened, checked, brought to one form."""
