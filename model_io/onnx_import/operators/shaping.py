"""Operators that move values without change: shapes, orders of axes, pieces."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import MOST_KNOWN, Value, known_array


def _known_shape(call: Call) -> Value:
    value = call.input_value(0)
    sizes = list(value.shape)
    start, end = call.attribute_value("start", 0), call.attribute_value("end")
    return known_array(sizes[start:end])


@register_operator("Shape", known=_known_shape)
def shape_of_input(call: Call) -> Value:
    """Return the shape, as plain numbers."""
    return _known_shape(call)


@register_operator("Size", known=lambda call: known_array(call.known_numbers(0).size))
def element_count(call: Call) -> Value:
    """Return the number of elements."""
    return known_array(math.prod(call.input_tensor(0).shape))


def _reshape_known_numbers(call: Call) -> Value:
    return call.known_numbers(0).reshape(call.known_integers(1))


@register_operator("Reshape", known=_reshape_known_numbers)
def reshape_tensor(call: Call) -> Value:
    """Change the shape; 0 keeps a size, -1 takes the remaining elements."""
    x, sizes = call.input_tensor(0), call.known_integers(1)
    if not call.attribute_value("allowzero", 0):
        for axis, wish in enumerate(sizes):
            if isinstance(wish, int) and wish == 0:
                if axis >= x.dim():
                    raise Refusal(f"It copies size {axis} of a tensor of {x.dim()} axes.")
                sizes[axis] = x.shape[axis]
    return x.reshape(sizes)


@register_operator("Flatten")
def flatten_to_matrix(call: Call) -> Value:
    """Join the axes to two axes."""
    x = call.input_tensor(0)
    axis = call.attribute_value("axis", 1)
    axis += x.dim() if axis < 0 else 0
    # a reshape is a call also where the value is flat already; `flatten` would hand it on
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _squeeze_known_numbers(call: Call) -> Value:
    axes = call.axes_argument()
    return np.squeeze(call.known_numbers(0), tuple(axes) if axes else None)


@register_operator("Squeeze", known=_squeeze_known_numbers)
def squeeze_axes(call: Call) -> Value:
    """Remove axes of size one: the named axes, else every axis of size one."""
    x, axes = call.input_tensor(0), call.axes_argument()
    if axes is None:
        axes = [a for a, n in enumerate(x.shape) if isinstance(n, int) and n == 1]
    if any(x.shape[axis] != 1 for axis in axes):
        raise Refusal(f"It drops axes {axes} of a tensor of shape {_plain_shape_text(x)}.")
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = x.squeeze(axis)
    return x


def _plain_shape_text(x: Tensor) -> tuple[str, ...]:
    return tuple(map(str, x.shape))


@register_operator(
    "Unsqueeze",
    known=lambda call: np.expand_dims(call.known_numbers(0), tuple(call.axes_argument() or ())),
)
def insert_unit_axes(call: Call) -> Value:
    """Insert axes of size one."""
    x, axes = call.input_tensor(0), call.axes_argument() or []
    rank = x.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


@register_operator(
    "Transpose", known=lambda call: call.known_numbers(0).transpose(call.attribute_value("perm"))
)
def transpose_axes(call: Call) -> Value:
    """Change the order of the axes; by default to the reverse."""
    x = call.input_tensor(0)
    order = call.attribute_value("perm", list(range(x.dim()))[::-1])
    return x if order == list(range(x.dim())) else x.permute(order)


@register_operator(
    "Concat",
    known=lambda call: np.concatenate(
        [call.known_numbers(i) for i in range(len(call.values))], call.attribute_value("axis")
    ),
)
def concatenate_tensors(call: Call) -> Value:
    """Concatenate tensors; a constant for a batch of one serves every batch."""
    tensors, axis = (
        [call.input_tensor(i) for i in range(len(call.values))],
        call.attribute_value("axis", 1),
    )
    if axis % tensors[0].dim():
        single = [isinstance(t.shape[0], int) and t.shape[0] == 1 for t in tensors]
        batch = next((t.shape[0] for t, one in zip(tensors, single, strict=True) if not one), 1)
        tensors = [
            t.expand(batch, *t.shape[1:]) if one and not is_single_batch(batch) else t
            for t, one in zip(tensors, single, strict=True)
        ]
    return torch.cat(tensors, axis)


def is_single_batch(batch: object) -> bool:
    """Whether a batch is certainly one image."""
    return isinstance(batch, int) and batch == 1


@register_operator("Expand")
def expand_unit_axes(call: Call) -> Value:
    """Repeat axes of size one without copies; a wanted size of one keeps the tensor's size."""
    x, wish = call.input_tensor(0), call.known_integers(1)
    x = x.reshape((1,) * (len(wish) - x.dim()) + tuple(x.shape))
    wish = [1] * (x.dim() - len(wish)) + wish
    keep = [isinstance(n, int) and n == 1 for n in wish]
    return x.expand([h if k else n for h, n, k in zip(x.shape, wish, keep, strict=True)])


def _tile_known_numbers(call: Call) -> Value:
    times = call.known_integers(1)
    plain = all(isinstance(n, int) for n in times)
    if plain and math.prod(times) * call.known_numbers(0).size <= MOST_KNOWN:
        return np.tile(call.known_numbers(0), times)
    return call.input_tensor(0).repeat(times)


@register_operator("Tile", known=_tile_known_numbers)
def repeat_along_axes(call: Call) -> Value:
    """Repeat a tensor along the axes."""
    return call.input_tensor(0).repeat(call.known_integers(1))


@register_operator("DepthToSpace")
def depth_to_space(call: Call) -> Value:
    """Move channels into blocks of pixels."""
    x, block = call.input_tensor(0), call.attribute_value("blocksize")
    if call.attribute_value("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // block**2, h * block, w * block)


@register_operator("SpaceToDepth")
def space_to_depth(call: Call) -> Value:
    """Move blocks of pixels into channels."""
    x, block = call.input_tensor(0), call.attribute_value("blocksize")
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * block**2, h // block, w // block)
