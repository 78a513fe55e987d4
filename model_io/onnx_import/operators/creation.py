"""Operators that make tensors from shapes and numbers."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_io.onnx_import.operators.table import operator
from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import MOST_KNOWN, Value


def _filled(call: Call) -> Value:
    sizes = call.ints(0)
    number: Any = call.attribute("value", 0.0)
    plain = all(isinstance(n, int) for n in sizes)
    if plain and not isinstance(number, float) and math.prod(sizes) <= MOST_KNOWN:
        return np.full(sizes, number, object)
    return torch.full(sizes, number)


@operator("ConstantOfShape", known=_filled)
def constant_of_shape(call: Call) -> Value:
    """Fill a shape with one value."""
    return _filled(call)


def _range_known(call: Call) -> Value:
    start, end, step = (call.number(i) for i in range(3))
    plain = all(isinstance(n, int) for n in (start, end, step))
    if plain and abs(end - start) <= MOST_KNOWN * abs(step):
        return np.arange(start, end, step).astype(object)
    return torch.arange(start, end, step)


@operator("Range", known=_range_known)
def number_range(call: Call) -> Value:
    """Count from a start to a limit."""
    return _range_known(call)


@operator("EyeLike")
def eye_like(call: Call) -> Any:
    """Put ones on a diagonal."""
    x, offset = call.tensor(0), call.attribute("k", 0)
    rows, columns = (torch.arange(n) for n in x.shape)
    ones = columns[None, :] - rows[:, None] == offset
    kind = call.attribute("dtype")
    real = x.is_floating_point() if kind is None else kind in (1, 10, 11, 16)
    return ones.to(torch.float32 if real else torch.int64)


@operator("NonZero")
def non_zero(call: Call) -> Value:
    """Return the places of what is not zero; of constants only, since its size is a value."""
    x: Tensor = call.tensor(0)
    if x.numel() <= MOST_KNOWN:
        call.known(0)  # raises where the values come from the network's input
    return torch.nonzero(x).T.contiguous()
