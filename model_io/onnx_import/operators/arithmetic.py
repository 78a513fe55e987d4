"""Broadcasting operators on two or more tensors, and their form for plain numbers."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import Function, register_operator
from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import Value, known_array

Operand = Tensor | float
_LARGEST_EXPONENT = 64


def highest_input_rank(call: Call) -> int:
    """Return the largest number of axes among the input tensors."""
    return max((v.dim() for v in call.values if isinstance(v, Tensor)), default=0)


def _pairwise_function(compute: Callable[..., Tensor]) -> Function:
    def run(call: Call) -> Value:
        rank = highest_input_rank(call)
        left, right = call.plain_operand(0, rank), call.plain_operand(1, rank)
        if not isinstance(left, Tensor) and not isinstance(right, Tensor):
            left = call.input_tensor(0)
        return compute(left, right)

    return run


def _plain_number_function(compute: Callable[..., object]) -> Function:
    each = np.frompyfunc(compute, 2, 1)
    return lambda call: known_array(
        reduce(each, [call.known_numbers(i) for i in range(len(call.values))])
    )


def _divide_tensors(left: Any, right: Any) -> Tensor:
    """Divide with broadcast shapes; integer quotients are cut towards zero."""
    first = left if isinstance(left, Tensor) else right
    if first.is_floating_point():
        quotient: Tensor = left / right
        return quotient
    return torch.div(torch.as_tensor(left), right, rounding_mode="trunc")


def _divide_plain_numbers(left: Any, right: float) -> float:
    if isinstance(left, float | torch.SymFloat):
        quotient: float = left / right
        return quotient
    # sizes are never negative, so only plain numbers need the cut towards zero
    plain = isinstance(left, int) and isinstance(right, int)
    whole: float = -(-left // right) if plain and (left < 0) != (right < 0) else left // right
    return whole


def _raise_to_power(left: Any, right: Any) -> Tensor:
    result = torch.pow(left, right)
    return result.to(left.dtype) if isinstance(left, Tensor) else result


def _power_of_numbers(left: float, right: float) -> float:
    if isinstance(left, int) and abs(right) > _LARGEST_EXPONENT:
        raise OverflowError("a power that no integer type holds")
    power: float = left**right
    return power


def _put_tensor_first(compare: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return `compare` for a first argument that is a number; shapes broadcast."""
    return lambda left, right: compare(torch.as_tensor(left), right)


_COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")

for _name, _tensors, _plain in (
    ("Add", lambda a, b: a + b, lambda a, b: a + b),
    ("Sub", lambda a, b: a - b, lambda a, b: a - b),
    ("Mul", lambda a, b: a * b, lambda a, b: a * b),
    ("Div", _divide_tensors, _divide_plain_numbers),
    ("Pow", _raise_to_power, _power_of_numbers),
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
    _compute = _put_tensor_first(_tensors) if _name in _COMPARISONS else _tensors
    register_operator(_name, known=_plain_number_function(_plain))(_pairwise_function(_compute))


@register_operator("Mod", known=_plain_number_function(lambda a, b: a % b))
def compute_modulo(call: Call) -> Value:
    """Return the remainder, with the divisor's sign, or the dividend's where `fmod` is set."""
    compute = torch.fmod if call.attribute_value("fmod", 0) else torch.remainder
    return compute(call.input_tensor(0), call.plain_operand(1, highest_input_rank(call)))


@register_operator("Sum", known=_plain_number_function(lambda a, b: a + b))
def add_all_inputs(call: Call) -> Value:
    """Add the inputs."""
    total, others = _operands_tensor_first(call)
    for other in others:
        total = torch.add(total, other)
    return total


@register_operator("Mean")
def mean_of_inputs(call: Call) -> Value:
    """Return the mean of the inputs."""
    total, others = _operands_tensor_first(call)
    for other in others:
        total = torch.add(total, other)
    return total / len(call.values)


@register_operator("Max", known=_plain_number_function(torch.sym_max))
def elementwise_maximum(call: Call) -> Value:
    """Return the elementwise maximum of the inputs; a ReLU if the other input is zero."""
    first, others = _operands_tensor_first(call)
    for other in others:
        if isinstance(other, Tensor):
            first = torch.maximum(first, other)
        else:
            first = F.relu(first) if other == 0 else torch.clamp(first, min=other)
    return first


@register_operator("Min", known=_plain_number_function(torch.sym_min))
def elementwise_minimum(call: Call) -> Value:
    """Return the elementwise minimum of the inputs."""
    first, others = _operands_tensor_first(call)
    for other in others:
        if isinstance(other, Tensor):
            first = torch.minimum(first, other)
        else:
            first = torch.clamp(first, max=other)
    return first


def _operands_tensor_first(call: Call) -> tuple[Tensor, list[Operand]]:
    """Return (a tensor, the other inputs); shapes broadcast."""
    rank = highest_input_rank(call)
    values = [call.plain_operand(i, rank) for i in range(len(call.values))]
    values.sort(key=lambda value: not isinstance(value, Tensor))
    first = values[0]
    return (first if isinstance(first, Tensor) else call.input_tensor(0)), values[1:]


def _choose_plain_numbers(call: Call) -> Value:
    condition, first, second = np.broadcast_arrays(*(call.known_numbers(i) for i in range(3)))
    chosen = [
        a if c else b for c, a, b in zip(condition.flat, first.flat, second.flat, strict=True)
    ]
    result = np.empty(len(chosen), object)
    result[:] = chosen
    return result.reshape(condition.shape)


@register_operator("Where", known=_choose_plain_numbers)
def choose_by_condition(call: Call) -> Value:
    """Choose between two inputs by a condition."""
    rank = highest_input_rank(call)
    return torch.where(
        call.input_tensor(0), call.plain_operand(1, rank), call.plain_operand(2, rank)
    )


@register_operator("BitShift")
def shift_bits(call: Call) -> Value:
    """Shift whole numbers."""
    left = call.attribute_value("direction") == "LEFT"
    compute = torch.bitwise_left_shift if left else torch.bitwise_right_shift
    return compute(call.input_tensor(0), call.input_tensor(1))


@register_operator("CumSum")
def cumulative_axis_sum(call: Call) -> Value:
    """Add along an axis, from either end, with or without the element at the place."""
    x, axis = call.input_tensor(0), int(call.known_number(1))
    if call.attribute_value("reverse", 0):
        x = x.flip(axis)
    result = x.cumsum(axis)
    if call.attribute_value("exclusive", 0):
        result = result - x
    return result.flip(axis) if call.attribute_value("reverse", 0) else result
