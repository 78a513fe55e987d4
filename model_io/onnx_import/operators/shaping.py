"""Operators that move values without changing them: shapes, orders of axes, pieces."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import MOST_KNOWN, Value, known


def _shape_of(call: Call) -> Value:
    value = call.value(0)
    sizes = list(value.shape)
    start, end = call.attribute("start", 0), call.attribute("end")
    return known(sizes[start:end])


@operator("Shape", known=_shape_of)
def shape(call: Call) -> Value:
    """Return the shape, as plain numbers."""
    return _shape_of(call)


@operator("Size", known=lambda call: known(call.known(0).size))
def size(call: Call) -> Value:
    """Return the number of elements."""
    return known(math.prod(call.tensor(0).shape))


def _reshape_known(call: Call) -> Value:
    return call.known(0).reshape(call.ints(1))


@operator("Reshape", known=_reshape_known)
def reshape(call: Call) -> Value:
    """Change the shape; 0 keeps a size, -1 takes what is left."""
    x, sizes = call.tensor(0), call.ints(1)
    if not call.attribute("allowzero", 0):
        for axis, wish in enumerate(sizes):
            if isinstance(wish, int) and wish == 0:
                if axis >= x.dim():
                    raise Refusal(f"It copies size {axis} of a tensor of {x.dim()} axes.")
                sizes[axis] = x.shape[axis]
    return x.reshape(sizes)


@operator("Flatten")
def flatten(call: Call) -> Value:
    """Make two axes of all."""
    x = call.tensor(0)
    axis = call.attribute("axis", 1)
    axis += x.dim() if axis < 0 else 0
    if axis == 1 and x.dim() > 1:
        return x.flatten(1)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _squeeze_known(call: Call) -> Value:
    axes = call.axes()
    return np.squeeze(call.known(0), tuple(axes) if axes else None)


@operator("Squeeze", known=_squeeze_known)
def squeeze(call: Call) -> Value:
    """Drop axes of size one: those named, or all."""
    x, axes = call.tensor(0), call.axes()
    if axes is None:
        axes = [a for a, n in enumerate(x.shape) if isinstance(n, int) and n == 1]
    if any(x.shape[axis] != 1 for axis in axes):
        raise Refusal(f"It drops axes {axes} of a tensor of shape {_plain(x)}.")
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = x.squeeze(axis)
    return x


def _plain(x: Tensor) -> tuple[str, ...]:
    return tuple(map(str, x.shape))


@operator("Unsqueeze", known=lambda call: np.expand_dims(call.known(0), tuple(call.axes() or ())))
def unsqueeze(call: Call) -> Value:
    """Put in axes of size one."""
    x, axes = call.tensor(0), call.axes() or []
    rank = x.dim() + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


@operator("Transpose", known=lambda call: call.known(0).transpose(call.attribute("perm")))
def transpose(call: Call) -> Value:
    """Change the order of the axes; by default to the reverse."""
    x = call.tensor(0)
    order = call.attribute("perm", list(range(x.dim()))[::-1])
    return x if order == list(range(x.dim())) else x.permute(order)


@operator(
    "Concat",
    known=lambda call: np.concatenate(
        [call.known(i) for i in range(len(call.values))], call.attribute("axis")
    ),
)
def concat(call: Call) -> Value:
    """Put tensors behind one another; a constant made for a batch of one serves every batch."""
    tensors, axis = [call.tensor(i) for i in range(len(call.values))], call.attribute("axis", 1)
    if axis % tensors[0].dim():
        single = [isinstance(t.shape[0], int) and t.shape[0] == 1 for t in tensors]
        batch = next((t.shape[0] for t, one in zip(tensors, single, strict=True) if not one), 1)
        tensors = [
            t.expand(batch, *t.shape[1:]) if one and not single_batch(batch) else t
            for t, one in zip(tensors, single, strict=True)
        ]
    return torch.cat(tensors, axis)


def single_batch(batch: Any) -> bool:
    """Whether a batch is one image, for certain."""
    return isinstance(batch, int) and batch == 1


@operator("Expand")
def expand(call: Call) -> Value:
    """Repeat axes of size one, without copying; sizes of one in the wish keep the tensor's own."""
    x, wish = call.tensor(0), call.ints(1)
    x = x.reshape((1,) * (len(wish) - x.dim()) + tuple(x.shape))
    wish = [1] * (x.dim() - len(wish)) + wish
    keep = [isinstance(n, int) and n == 1 for n in wish]
    return x.expand([h if k else n for h, n, k in zip(x.shape, wish, keep, strict=True)])


def _tile_known(call: Call) -> Value:
    times = call.ints(1)
    plain = all(isinstance(n, int) for n in times)
    if plain and math.prod(times) * call.known(0).size <= MOST_KNOWN:
        return np.tile(call.known(0), times)
    return call.tensor(0).repeat(times)


@operator("Tile", known=_tile_known)
def tile(call: Call) -> Value:
    """Repeat a tensor along each axis."""
    return call.tensor(0).repeat(call.ints(1))


@operator("DepthToSpace")
def depth_to_space(call: Call) -> Value:
    """Move channels into blocks of pixels."""
    x, block = call.tensor(0), call.attribute("blocksize")
    if call.attribute("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // block**2, h * block, w * block)


@operator("SpaceToDepth")
def space_to_depth(call: Call) -> Value:
    """Move blocks of pixels into channels."""
    x, block = call.tensor(0), call.attribute("blocksize")
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * block**2, h // block, w // block)
