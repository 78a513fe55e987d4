"""Operators that cut tensors into pieces, and pad tensors."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value


def _piece_lengths(call: Call, length: int) -> list[int]:
    """Return the lengths to split into: given, or as equal as the number of outputs allows."""
    given = call.known_integers(1) if call.has_input(1) else call.attribute_value("split")
    if given:
        return list(given)
    count = len(call.step.outputs)
    if call.attribute_value("num_outputs", count) != count:
        raise Refusal(f"It must have as many outputs as it says, and has {count}. Export again.")
    piece = -(-length // count)
    return [piece] * (count - 1) + [length - piece * (count - 1)]


def _split_known_numbers(call: Call) -> tuple[Value, ...]:
    numbers, axis = call.known_numbers(0), call.attribute_value("axis", 0)
    places = np.cumsum(_piece_lengths(call, numbers.shape[axis]))[:-1]
    return tuple(np.split(numbers, [int(p) for p in places], axis))


@register_operator("Split", known=_split_known_numbers)
def split_along_axis(call: Call) -> tuple[Value, ...]:
    """Cut a tensor into pieces along an axis."""
    x, axis = call.input_tensor(0), call.attribute_value("axis", 0)
    return tuple(torch.split(x, _piece_lengths(call, x.shape[axis]), axis))


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@register_operator("Pad")
def pad_tensor(call: Call) -> Value:
    """Put values around a tensor; negative pads cut."""
    x, mode = call.input_tensor(0), call.attribute_value("mode", "constant")
    pads = call.known_integers(1) if call.has_input(1) else list(call.attribute_value("pads", []))
    axes = call.known_integers(3) if call.has_input(3) else list(range(x.dim()))
    if len(pads) != 2 * len(axes):
        raise Refusal(f"It must have two pads for each of {len(axes)} axes, and got {len(pads)}.")
    pairs = [(0, 0)] * x.dim()
    for place, axis in enumerate(axes):
        pairs[axis] = (pads[place], pads[place + len(axes)])
    value = call.known_number(2) if call.has_input(2) else call.attribute_value("value", 0.0)
    return pad_by_pairs(x, pairs, mode, value)


def pad_by_pairs(x: Tensor, pairs: list[tuple[int, int]], mode: str, value: float) -> Tensor:
    """Pad the axes of `x` by pairs (before, after); the shape grows by the pads."""
    first = next((a for a, pair in enumerate(pairs) if pair != (0, 0)), None)
    if first is None:
        return x
    flat = [n for pair in reversed(pairs[first:]) for n in pair]
    if mode == "constant":
        return F.pad(x, flat, value=value)
    if mode not in _MODES:
        raise Refusal(f"It must pad with mode {', '.join(_MODES)}, and has {mode!r}.")
    for axis, (before, after) in enumerate(pairs):
        if before < 0 or after < 0:
            x = x.narrow(axis, max(0, -before), x.shape[axis] + min(0, before) + min(0, after))
    flat = [max(0, n) for n in flat]
    if len(flat) // 2 <= 3 and x.dim() <= len(flat) // 2 + 2:
        extra = max(0, len(flat) // 2 + 2 - x.dim())
        result = F.pad(x.reshape((1,) * extra + tuple(x.shape)), flat, mode=_MODES[mode])
        return result.reshape(result.shape[extra:])
    for axis in range(first, x.dim()):  # in these modes torch pads the last axes only, one by one
        before, after = (max(0, n) for n in pairs[axis])
        shape = tuple(x.shape)
        rows = x.reshape(1, math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
        rows = F.pad(rows, (0, 0, before, after), mode=_MODES[mode])
        x = rows.reshape(*shape[:axis], rows.shape[2], *shape[axis + 1 :])
    return x


@register_operator("CenterCropPad")
def center_crop_pad(call: Call) -> Value:
    """Crop or pad axes around the middle to the requested sizes."""
    x, sizes = call.input_tensor(0), call.known_integers(1)
    for axis, wish in zip(call.attribute_value("axes", range(x.dim())), sizes, strict=True):
        have = x.shape[axis]
        if wish < have:
            x = x.narrow(axis, (have - wish) // 2, wish)
        pairs = [(0, 0)] * x.dim()
        pairs[axis] = ((wish - have) // 2, -(-(wish - have) // 2)) if wish > have else (0, 0)
        x = pad_by_pairs(x, pairs, "constant", 0.0)
    return x


def _slice_known_numbers(call: Call) -> Value:
    numbers = call.known_numbers(0)
    for axis, start, end, step in _slice_ranges(call, numbers.ndim):
        cut: list[Any] = [slice(None)] * numbers.ndim
        # a backward walk can end before the first element
        low = None if step < 0 and end < -numbers.shape[axis] else end
        cut[axis] = slice(start, low, step)
        numbers = numbers[tuple(cut)]
    return numbers


def _slice_ranges(call: Call, rank: int) -> list[tuple[int, int, int, int]]:
    """Return (axis, start, end, step) of the slices."""
    if call.has_input(1):
        starts, ends = call.known_integers(1), call.known_integers(2)
        axes = call.known_integers(3) if call.has_input(3) else range(len(starts))
        steps = call.known_integers(4) if call.has_input(4) else [1] * len(starts)
    else:
        starts, ends = call.attribute_value("starts"), call.attribute_value("ends")
        axes, steps = call.attribute_value("axes", range(len(starts))), [1] * len(starts)
    return list(zip((a % rank for a in axes), starts, ends, steps, strict=True))


@register_operator("Slice", known=_slice_known_numbers)
def cut_axis_ranges(call: Call) -> Value:
    """Cut a range of an axis, with a step, backwards where the step is negative."""
    x = call.input_tensor(0)
    for axis, start, end, step in _slice_ranges(call, x.dim()):
        limits = start, end
        if step < 0:
            x, limits = x.flip(axis), _mirror_range(start, end, x.shape[axis])
        x = torch.ops.aten.slice.Tensor(x, axis, *limits, abs(step))
    return x


def _mirror_range(start: int, end: int, length: int) -> tuple[int, int]:
    """Return (start, end) of a backward walk, counted from the other end."""
    first = min(start, length - 1) if start >= 0 else max(start + length, -1)
    last = min(end, length - 1) if end >= 0 else max(end + length, -1)
    return length - 1 - first, length - 1 - last


@register_operator("Trilu")
def keep_matrix_triangle(call: Call) -> Value:
    """Keep the upper or lower triangle."""
    offset = int(call.known_number(1)) if call.has_input(1) else 0
    x = call.input_tensor(0)
    return x.triu(offset) if call.attribute_value("upper", 1) else x.tril(offset)


@register_operator("ReverseSequence")
def reverse_each_sequence(call: Call) -> Value:
    """Reverse the first part of every sequence, of the given length."""
    x, lengths = call.input_tensor(0), call.known_integers(1)
    time, batch = call.attribute_value("time_axis", 0), call.attribute_value("batch_axis", 1)
    rows = []
    for index, length in enumerate(lengths):
        row = x.narrow(batch, index, 1)
        head, tail = row.narrow(time, 0, length), row.narrow(time, length, x.shape[time] - length)
        rows.append(torch.cat([head.flip(time), tail], time))
    return torch.cat(rows, batch)
