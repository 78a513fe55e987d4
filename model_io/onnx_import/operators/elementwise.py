"""Elementwise operators on one tensor, without activation functions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import Function, register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value, known_array

_REALS = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
)


def _tensor_function(compute: Callable[[Tensor], Tensor]) -> Function:
    return lambda call: compute(call.input_tensor(0))


def _plain_number_function(compute: Callable[..., object]) -> Function:
    each = np.frompyfunc(compute, 1, 1)
    return lambda call: known_array(each(call.known_numbers(0)))


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": F.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}
_ON_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "Abs": abs,
    "Ceil": lambda v: float(math.ceil(v)) if isinstance(v, float) else v,
    "Exp": math.exp,
    "Floor": lambda v: float(math.floor(v)) if isinstance(v, float) else v,
    "Log": math.log,
    "Neg": lambda v: -v,
    "Not": lambda v: not v,
    "Reciprocal": lambda v: 1 / v,
    "Round": lambda v: float(round(v)),
    "Sqrt": lambda v: v**0.5,
}
for _name, _compute in _PLAIN.items():
    _numbers = _ON_NUMBERS.get(_name)
    register_operator(_name, known=_plain_number_function(_numbers) if _numbers else None)(
        _tensor_function(_compute)
    )


def _return_first_input(call: Call) -> Value:
    return call.input_value(0)


@register_operator("Identity", "Dropout", known=_return_first_input)
def pass_value_on(call: Call) -> Value:
    """Return the input; a dropout of a trained network does nothing.

    Raises:
        Refusal: a dropout in training mode.
    """
    if call.has_input(2) and call.known_number(2):
        raise Refusal(
            "It is in training mode. Export the network in eval mode, and call F.dropout with "
            "training=self.training."
        )
    return call.input_value(0)


@register_operator("IsInf")
def mark_infinite_values(call: Call) -> Value:
    """Mark infinities of the requested signs."""
    x = call.input_tensor(0)
    low = torch.isneginf(x) & bool(call.attribute_value("detect_negative", 1))
    return low | (torch.isposinf(x) & bool(call.attribute_value("detect_positive", 1)))


def _cast_plain_number(
    value: float | torch.SymInt | torch.SymFloat, to: int
) -> float | torch.SymInt | torch.SymFloat:
    if to in _REALS:
        return torch.sym_float(value) if isinstance(value, torch.SymInt) else float(value)
    if to == TensorProto.BOOL:
        return bool(value)
    symbolic = isinstance(value, torch.SymInt | torch.SymFloat)
    return torch.sym_int(value) if symbolic else int(value)


def _cast_known_numbers(call: Call) -> Value:
    to = call.attribute_value("to")
    return _plain_number_function(lambda value: _cast_plain_number(value, to))(call)  # type: ignore[return-value]


@register_operator("Cast", known=_cast_known_numbers)
def cast_element_type(call: Call) -> Value:
    """Change the type; real numbers are float32 and integers are int64."""
    x, to = call.input_tensor(0), call.attribute_value("to")
    if to in _REALS:
        return x if x.is_floating_point() else x.to(torch.float32)
    if to == TensorProto.BOOL:
        return x if x.dtype == torch.bool else x != 0
    return x if x.dtype == torch.int64 else x.to(torch.int64)


@register_operator("CastLike")
def cast_like_second(call: Call) -> Value:
    """Change the type to the type of the second input."""
    return call.input_tensor(0).to(call.input_tensor(1).dtype)


@register_operator("Clip")
def clip_values(call: Call) -> Value:
    """Limit values; limits beyond the float range have no effect."""
    x = call.input_tensor(0)
    if call.opset < 11:
        low, high = call.attribute_value("min"), call.attribute_value("max")
    else:
        low, high = (call.plain_operand(i, 0) if call.has_input(i) else None for i in (1, 2))
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        x = x if low is None else torch.maximum(x, torch.as_tensor(low))
        return x if high is None else torch.minimum(x, torch.as_tensor(high))
    return clamp_between_numbers(x, low, high)


def clamp_between_numbers(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """Limit x of any shape by plain numbers; limits 0 and 6 give a ReLU or ReLU6."""
    if x.is_floating_point():
        low = None if low is not None and low <= -3.4e38 else low
        high = None if high is not None and high >= 3.4e38 else high
    if low is None and high is None:
        return x
    if low == 0 and high is None:
        return F.relu(x)
    if low == 0 and high == 6 and x.is_floating_point():
        return F.relu6(x)
    return torch.clamp(x, low, high)
