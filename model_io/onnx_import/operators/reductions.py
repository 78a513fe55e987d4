"""Operators that reduce axes, and those that search along one."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model_io.onnx_import.operators.table import operator
from model_io.onnx_import.program.call import Call
from model_io.onnx_import.program.values import Known, Value, known

Reduce = Callable[[Tensor, list[int], bool], Tensor]
DROP = False
"""Of the axes that are reduced."""


def _axes(call: Call, rank: int) -> list[int]:
    """Return the axes to reduce; none where an empty list is to change nothing."""
    axes = call.axes()
    if not axes:
        return [] if call.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return [axis % rank for axis in axes]


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


_REDUCTIONS: dict[str, Reduce] = {
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keep),
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda x, axes, keep: x.square().sum(axes, keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keep),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keep),
}


def _reduced(call: Call, compute: Reduce) -> Value:
    x = call.tensor(0)
    axes = _axes(call, x.dim())
    if x.dim() == 0:
        return compute(x.reshape(1), [0], DROP)
    # an empty list reduces nothing, but what is done to each element stays
    return compute(x, axes, bool(call.attribute("keepdims", 1))) if axes else _element(call, x)


def _element(call: Call, x: Tensor) -> Tensor:
    return _REDUCTIONS[call.step.operator](x.unsqueeze(-1), [-1], DROP)


def _product_of_numbers(call: Call) -> Value:
    numbers = call.known(0)
    value = math.prod(numbers.ravel().tolist())
    keep = bool(call.attribute("keepdims", 1)) and numbers.ndim
    return known([value]) if keep else known(value)


def _known_extreme(call: Call) -> Value:
    numbers = call.known(0).ravel().tolist()
    value = numbers[0]
    for number in numbers[1:]:
        best = torch.sym_max if call.step.operator == "ReduceMax" else torch.sym_min
        value = best(value, number)  # type: ignore[no-untyped-call]
    keep = bool(call.attribute("keepdims", 1)) and call.known(0).ndim
    return known([value]) if keep else known(value)


def _known_sum(call: Call) -> Value:
    numbers: Known = call.known(0)
    value = sum(numbers.ravel().tolist())
    keep = bool(call.attribute("keepdims", 1)) and numbers.ndim
    return known([value]) if keep else known(value)


_KNOWN = {
    "ReduceProd": _product_of_numbers,
    "ReduceMax": _known_extreme,
    "ReduceMin": _known_extreme,
    "ReduceSum": _known_sum,
}


def _enter(name: str, compute: Reduce) -> None:
    operator(name, known=_KNOWN.get(name))(lambda call: _reduced(call, compute))


for _name, _compute in _REDUCTIONS.items():
    _enter(_name, _compute)


def _place(call: Call, find: Callable[[Tensor, int, bool], Tensor]) -> Any:
    """Return where along an axis the extreme is; the first or the last of equals."""
    x, axis = call.tensor(0), call.attribute("axis", 0)
    keep = bool(call.attribute("keepdims", 1))
    if not call.attribute("select_last_index", 0):
        return find(x, axis, keep)
    return x.shape[axis] - 1 - find(x.flip(axis), axis, keep)


@operator("ArgMax")
def arg_max(call: Call) -> Any:
    """Return where the greatest value is."""
    return _place(call, lambda x, axis, keep: x.argmax(axis, keepdim=keep))


@operator("ArgMin")
def arg_min(call: Call) -> Any:
    """Return where the least value is."""
    return _place(call, lambda x, axis, keep: x.argmin(axis, keepdim=keep))


@operator("TopK")
def top_k(call: Call) -> tuple[Value, ...]:
    """Return the k greatest (or least) values along an axis, and where they were."""
    count = call.ints(1)[0] if call.has(1) else call.attribute("k")
    axis, largest = call.attribute("axis", -1), bool(call.attribute("largest", 1))
    # a stable sort: of equal values the first comes first, which topk does not promise
    values, places = torch.sort(call.tensor(0), dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)
