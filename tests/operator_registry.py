"""The registry of operators that torch.onnx.export builds anew for each file, a second each time.

Tests write many files; whoever imports this module has the registry built once a process.
"""

from functools import cache

from torch.onnx._internal.exporter._registration import ONNXRegistry

ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]
