"""Operators that reduce axes or search along an axis."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import Known, Value, known_array

Reduce = Callable[[Tensor, list[int], bool], Tensor]
DROP = False
"""Of the axes that are reduced."""


def _axes_to_reduce(call: Call, rank: int) -> list[int]:
    """Return the axes to reduce; none if the node says that an empty list changes nothing."""
    axes = call.axes_argument()
    if not axes:
        return [] if call.attribute_value("noop_with_empty_axes", 0) else list(range(rank))
    return [axis % rank for axis in axes]


def _product_over_axes(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


_REDUCTIONS: dict[str, Reduce] = {
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keep),
    "ReduceProd": _product_over_axes,
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda x, axes, keep: x.square().sum(axes, keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keep),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keep),
}


def _reduce_axes(call: Call, compute: Reduce) -> Value:
    x = call.input_tensor(0)
    axes = _axes_to_reduce(call, x.dim())
    if x.dim() == 0:
        return compute(x.reshape(1), [0], DROP)
    # an empty list reduces no axis, but the elementwise part of the operation stays
    return (
        compute(x, axes, bool(call.attribute_value("keepdims", 1)))
        if axes
        else _reduce_each_element(call, x)
    )


def _reduce_each_element(call: Call, x: Tensor) -> Tensor:
    return _REDUCTIONS[call.step.operator](x.unsqueeze(-1), [-1], DROP)


def _product_of_numbers(call: Call) -> Value:
    numbers = call.known_numbers(0)
    value = math.prod(numbers.ravel().tolist())
    keep = bool(call.attribute_value("keepdims", 1)) and numbers.ndim
    return known_array([value]) if keep else known_array(value)


def _extreme_of_numbers(call: Call) -> Value:
    numbers = call.known_numbers(0).ravel().tolist()
    value = numbers[0]
    for number in numbers[1:]:
        best = torch.sym_max if call.step.operator == "ReduceMax" else torch.sym_min
        value = best(value, number)  # type: ignore[no-untyped-call]
    keep = bool(call.attribute_value("keepdims", 1)) and call.known_numbers(0).ndim
    return known_array([value]) if keep else known_array(value)


def _sum_of_numbers(call: Call) -> Value:
    numbers: Known = call.known_numbers(0)
    value = sum(numbers.ravel().tolist())
    keep = bool(call.attribute_value("keepdims", 1)) and numbers.ndim
    return known_array([value]) if keep else known_array(value)


_KNOWN = {
    "ReduceProd": _product_of_numbers,
    "ReduceMax": _extreme_of_numbers,
    "ReduceMin": _extreme_of_numbers,
    "ReduceSum": _sum_of_numbers,
}


def _enter_reduction(name: str, compute: Reduce) -> None:
    register_operator(name, known=_KNOWN.get(name))(lambda call: _reduce_axes(call, compute))


for _name, _compute in _REDUCTIONS.items():
    _enter_reduction(_name, _compute)


def _extreme_index(call: Call, find: Callable[[Tensor, int, bool], Tensor]) -> Tensor:
    """Return the index of the extreme along an axis, in the reduced shape.

    The node says whether the first or the last of equal extremes counts.
    """
    x, axis = call.input_tensor(0), call.attribute_value("axis", 0)
    keep = bool(call.attribute_value("keepdims", 1))
    if not call.attribute_value("select_last_index", 0):
        return find(x, axis, keep)
    last: Tensor = x.shape[axis] - 1 - find(x.flip(axis), axis, keep)
    return last


@register_operator("ArgMax")
def index_of_maximum(call: Call) -> Value:
    """Return where the greatest value is."""
    return _extreme_index(call, lambda x, axis, keep: x.argmax(axis, keepdim=keep))


@register_operator("ArgMin")
def index_of_minimum(call: Call) -> Value:
    """Return where the least value is."""
    return _extreme_index(call, lambda x, axis, keep: x.argmin(axis, keepdim=keep))


@register_operator("TopK")
def greatest_k_values(call: Call) -> tuple[Value, ...]:
    """Return the k largest (or smallest) values along an axis, with the indices."""
    count = call.known_integers(1)[0] if call.has_input(1) else call.attribute_value("k")
    axis, largest = call.attribute_value("axis", -1), bool(call.attribute_value("largest", 1))
    # a stable sort puts the first of equal values first; topk gives no guarantee
    values, places = torch.sort(call.input_tensor(0), dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)
