"""What each ONNX operator computes, by family; importing this package fills the one table."""

from model_io.onnx_import.operators import (
    activations,
    arithmetic,
    convolution,
    creation,
    elementwise,
    indexing,
    linear,
    normalization,
    pieces,
    pooling,
    recurrent,
    reductions,
    resizing,
    shaping,
)
from model_io.onnx_import.operators.table import TABLE, Operator

__all__ = [
    "TABLE",
    "Operator",
    "activations",
    "arithmetic",
    "convolution",
    "creation",
    "elementwise",
    "indexing",
    "linear",
    "normalization",
    "pieces",
    "pooling",
    "recurrent",
    "reductions",
    "resizing",
    "shaping",
]
