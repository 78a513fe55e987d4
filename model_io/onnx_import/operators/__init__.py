"""The ONNX operators by family; importing the package fills the operator table."""

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
    spectra,
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
    "spectra",
]
