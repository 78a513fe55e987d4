"""Operators that make tensors from shapes and numbers."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import MOST_KNOWN, Value


def _filled_array(call: Call) -> Value:
    sizes = call.known_integers(0)
    number: Any = call.attribute_value("value", 0.0)
    plain = all(isinstance(n, int) for n in sizes)
    if plain and not isinstance(number, float) and math.prod(sizes) <= MOST_KNOWN:
        return np.full(sizes, number, object)
    return torch.full(sizes, number)


@register_operator("ConstantOfShape", known=_filled_array)
def fill_constant_shape(call: Call) -> Value:
    """Fill a shape with one value."""
    return _filled_array(call)


def _range_of_numbers(call: Call) -> Value:
    start, end, step = (call.known_number(i) for i in range(3))
    plain = all(isinstance(n, int) for n in (start, end, step))
    if plain and abs(end - start) <= MOST_KNOWN * abs(step):
        return np.arange(start, end, step).astype(object)
    return torch.arange(start, end, step)


@register_operator("Range", known=_range_of_numbers)
def count_number_range(call: Call) -> Value:
    """Count from a start to a limit."""
    return _range_of_numbers(call)


@register_operator("EyeLike")
def identity_like(call: Call) -> Value:
    """Return ones on a diagonal."""
    x, offset = call.input_tensor(0), call.attribute_value("k", 0)
    rows, columns = (torch.arange(n) for n in x.shape)
    ones: Tensor = columns[None, :] - rows[:, None] == offset
    kind = call.attribute_value("dtype")
    real = x.is_floating_point() if kind is None else kind in (1, 10, 11, 16)
    return ones.to(torch.float32 if real else torch.int64)


@register_operator("NonZero")
def find_nonzero_places(call: Call) -> Value:
    """Return the places of nonzero elements, of constants only: the count depends on values."""
    x: Tensor = call.input_tensor(0)
    if x.numel() <= MOST_KNOWN:
        call.known_numbers(0)  # raises where the values come from the network's input
    return torch.nonzero(x).T.contiguous()
