"""Operators on one tensor that treat every element alike, activation functions apart."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import Function, operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value, known

_REALS = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
)


def _on_tensor(compute: Callable[[Tensor], Tensor]) -> Function:
    return lambda call: compute(call.tensor(0))


def _on_numbers(compute: Callable[[Any], Any]) -> Function:
    each = np.frompyfunc(compute, 1, 1)
    return lambda call: known(each(call.known(0)))


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
    operator(_name, known=_on_numbers(_numbers) if _numbers else None)(_on_tensor(_compute))


def _same(call: Call) -> Value:
    return call.value(0)


@operator("Identity", "Dropout", known=_same)
def identity(call: Call) -> Value:
    """Pass a value on; a dropout does nothing once a network is trained.

    Raises:
        Refusal: a dropout that is told to train.
    """
    if call.has(2) and call.number(2):
        raise Refusal("It is in training mode. Export the network in eval mode.")
    return call.value(0)


@operator("IsInf")
def is_inf(call: Call) -> Value:
    """Mark infinities of the signs that are asked for."""
    x = call.tensor(0)
    low = torch.isneginf(x) & bool(call.attribute("detect_negative", 1))
    return low | (torch.isposinf(x) & bool(call.attribute("detect_positive", 1)))


def _cast_number(value: Any, to: int) -> Any:
    if to in _REALS:
        return torch.sym_float(value) if isinstance(value, torch.SymInt) else float(value)
    if to == TensorProto.BOOL:
        return bool(value)
    symbolic = isinstance(value, torch.SymInt | torch.SymFloat)
    return torch.sym_int(value) if symbolic else int(value)


def _cast_known(call: Call) -> Value:
    to = call.attribute("to")
    return _on_numbers(lambda value: _cast_number(value, to))(call)  # type: ignore[return-value]


@operator("Cast", known=_cast_known)
def cast(call: Call) -> Value:
    """Change the type; all reals are float32 here and all whole numbers int64."""
    x, to = call.tensor(0), call.attribute("to")
    if to in _REALS:
        return x if x.is_floating_point() else x.to(torch.float32)
    if to == TensorProto.BOOL:
        return x if x.dtype == torch.bool else x != 0
    return x if x.dtype == torch.int64 else x.to(torch.int64)


@operator("CastLike")
def cast_like(call: Call) -> Value:
    """Change the type to that of the second input."""
    return call.tensor(0).to(call.tensor(1).dtype)


@operator("Clip")
def clip(call: Call) -> Value:
    """Bound values; limits that no float passes are none."""
    x = call.tensor(0)
    if call.opset < 11:
        low, high = call.attribute("min"), call.attribute("max")
    else:
        low, high = (call.operand(i, 0) if call.has(i) else None for i in (1, 2))
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        x = x if low is None else torch.maximum(x, torch.as_tensor(low))
        return x if high is None else torch.minimum(x, torch.as_tensor(high))
    return clamp(x, low, high)


def clamp(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """Bound values by plain numbers, as a ReLU or ReLU6 where it is one."""
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
