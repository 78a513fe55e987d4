"""Operators on two or more tensors, which broadcast; and the same on plain numbers."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import Function, operator
from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import Value, known

Operand = Tensor | float
_LARGEST_EXPONENT = 64


def ranks(call: Call) -> int:
    """Return the most axes that a tensor among the inputs has."""
    return max((v.dim() for v in call.values if isinstance(v, Tensor)), default=0)


def _pairwise(compute: Callable[[Any, Any], Tensor]) -> Function:
    def run(call: Call) -> Value:
        rank = ranks(call)
        left, right = call.operand(0, rank), call.operand(1, rank)
        if not isinstance(left, Tensor) and not isinstance(right, Tensor):
            left = call.tensor(0)
        return compute(left, right)

    return run


def _numbers(compute: Callable[[Any, Any], Any]) -> Function:
    each = np.frompyfunc(compute, 2, 1)
    return lambda call: known(reduce(each, [call.known(i) for i in range(len(call.values))]))


def _divide(left: Any, right: Any) -> Tensor:
    """Divide; whole numbers are cut towards zero."""
    first = left if isinstance(left, Tensor) else right
    if first.is_floating_point():
        quotient: Tensor = left / right
        return quotient
    return torch.div(torch.as_tensor(left), right, rounding_mode="trunc")


def _divide_numbers(left: Any, right: Any) -> Any:
    if isinstance(left, float | torch.SymFloat):
        return left / right
    # a size is never negative, so only plain numbers need the cut towards zero
    plain = isinstance(left, int) and isinstance(right, int)
    return -(-left // right) if plain and (left < 0) != (right < 0) else left // right


def _power(left: Any, right: Any) -> Tensor:
    result = torch.pow(left, right)
    return result.to(left.dtype) if isinstance(left, Tensor) else result


def _power_of_numbers(left: Any, right: Any) -> Any:
    if isinstance(left, int) and abs(right) > _LARGEST_EXPONENT:
        raise OverflowError("a power that no integer type holds")
    return left**right


for _name, _tensors, _plain in (
    ("Add", lambda a, b: a + b, lambda a, b: a + b),
    ("Sub", lambda a, b: a - b, lambda a, b: a - b),
    ("Mul", lambda a, b: a * b, lambda a, b: a * b),
    ("Div", _divide, _divide_numbers),
    ("Pow", _power, _power_of_numbers),
    ("Equal", torch.eq, lambda a, b: bool(a == b)),
    ("Greater", torch.gt, lambda a, b: bool(a > b)),
    ("GreaterOrEqual", torch.ge, lambda a, b: bool(a >= b)),
    ("Less", torch.lt, lambda a, b: bool(a < b)),
    ("LessOrEqual", torch.le, lambda a, b: bool(a <= b)),
    ("And", lambda a, b: a & b, lambda a, b: a and b),
    ("Or", lambda a, b: a | b, lambda a, b: a or b),
    ("Xor", lambda a, b: a ^ b, lambda a, b: a != b),
    ("BitwiseAnd", lambda a, b: a & b, lambda a, b: a & b),
    ("BitwiseOr", lambda a, b: a | b, lambda a, b: a | b),
    ("BitwiseXor", lambda a, b: a ^ b, lambda a, b: a ^ b),
):
    _swapped = _tensors
    if _name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        # torch's comparisons want the tensor first
        def _swapped(left: Any, right: Any, compare: Any = _tensors) -> Tensor:
            return compare(torch.as_tensor(left), right)  # type: ignore[no-any-return]

    operator(_name, known=_numbers(_plain))(_pairwise(_swapped))


@operator("Mod", known=_numbers(lambda a, b: a % b))
def modulo(call: Call) -> Value:
    """Return the remainder, with the divisor's sign, or the dividend's where `fmod` is set."""
    compute = torch.fmod if call.attribute("fmod", 0) else torch.remainder
    return compute(call.tensor(0), call.operand(1, ranks(call)))


@operator("Sum", known=_numbers(lambda a, b: a + b))
def total(call: Call) -> Any:
    """Add all inputs."""
    return reduce(torch.add, _operands(call))


@operator("Mean")
def mean(call: Call) -> Any:
    """Return the mean of all inputs."""
    return reduce(torch.add, _operands(call)) / len(call.values)


@operator("Max", known=_numbers(torch.sym_max))
def greatest(call: Call) -> Any:
    """Return the greatest of the inputs at each place; a ReLU where the other is zero."""
    first, *others = _operands(call)
    for other in others:
        if isinstance(other, Tensor):
            first = torch.maximum(first, other)
        else:
            first = F.relu(first) if other == 0 else torch.clamp(first, min=other)
    return first


@operator("Min", known=_numbers(torch.sym_min))
def least(call: Call) -> Any:
    """Return the least of the inputs at each place."""
    first, *others = _operands(call)
    for other in others:
        bounded = isinstance(other, Tensor)
        first = torch.minimum(first, other) if bounded else torch.clamp(first, max=other)
    return first


def _operands(call: Call) -> list[Any]:
    """Return all inputs, a tensor first."""
    rank = ranks(call)
    values = [call.operand(i, rank) for i in range(len(call.values))]
    values.sort(key=lambda value: not isinstance(value, Tensor))
    return [values[0] if isinstance(values[0], Tensor) else call.tensor(0), *values[1:]]


def _choose_numbers(call: Call) -> Value:
    condition, first, second = np.broadcast_arrays(*(call.known(i) for i in range(3)))
    chosen = [
        a if c else b for c, a, b in zip(condition.flat, first.flat, second.flat, strict=True)
    ]
    result = np.empty(len(chosen), object)
    result[:] = chosen
    return result.reshape(condition.shape)


@operator("Where", known=_choose_numbers)
def where(call: Call) -> Value:
    """Choose between two inputs by a condition."""
    rank = ranks(call)
    return torch.where(call.tensor(0), call.operand(1, rank), call.operand(2, rank))


@operator("BitShift")
def bit_shift(call: Call) -> Value:
    """Shift whole numbers."""
    left = call.attribute("direction") == "LEFT"
    compute = torch.bitwise_left_shift if left else torch.bitwise_right_shift
    return compute(call.tensor(0), call.tensor(1))


@operator("CumSum")
def cumulative_sum(call: Call) -> Value:
    """Add along an axis, from either end, with or without the element itself."""
    x, axis = call.tensor(0), int(call.number(1))
    if call.attribute("reverse", 0):
        x = x.flip(axis)
    result = x.cumsum(axis)
    if call.attribute("exclusive", 0):
        result = result - x
    return result.flip(axis) if call.attribute("reverse", 0) else result
