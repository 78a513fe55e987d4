"""Operators that pick or place elements by index."""

import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value, is_known, known


def _gather_known(call: Call) -> Value:
    numbers, places = call.known(0), call.known(1).astype(int)
    return known(numbers.take(places, call.attribute("axis", 0)))


@operator("Gather", known=_gather_known)
def gather(call: Call) -> Value:
    """Pick slices along an axis by index; negative ones count from the end."""
    x, axis = call.tensor(0), call.attribute("axis", 0)
    axis %= max(x.dim(), 1)
    index = call.value(1)
    if is_known(index) and index.ndim == 0:
        return x.select(axis, call.ints(1)[0])
    places = _counted_from_start(call, 1, x.shape[axis])
    picked = x.index_select(axis, places.reshape(-1))
    return picked.reshape(tuple(x.shape[:axis]) + tuple(places.shape) + tuple(x.shape[axis + 1 :]))


def _counted_from_start(call: Call, index: int, length: int) -> Tensor:
    """Return indices, none of them negative; known ones are corrected before the network runs."""
    if is_known(found := call.value(index)):
        return torch.tensor([int(i) % length for i in found.ravel().tolist()]).reshape(found.shape)
    places = call.tensor(index)
    return torch.where(places < 0, places + length, places)


@operator("GatherElements")
def gather_elements(call: Call) -> Value:
    """Pick an element at each place along an axis."""
    x, axis = call.tensor(0), call.attribute("axis", 0)
    return torch.gather(x, axis, _counted_from_start(call, 1, x.shape[axis]))


@operator("GatherND")
def gather_nd(call: Call) -> Value:
    """Pick slices by tuples of indices."""
    if call.attribute("batch_dims", 0):
        raise Refusal("Its batch_dims must be 0. Export without it.")
    x, places = call.tensor(0), call.tensor(1)
    return x[tuple(places.unbind(-1))]


_SCATTER = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("Scatter", "ScatterElements")
def scatter_elements(call: Call) -> Value:
    """Put an element at each place along an axis."""
    x, axis = call.tensor(0), call.attribute("axis", 0)
    places = _counted_from_start(call, 1, x.shape[axis])
    how = call.attribute("reduction", "none")
    if how == "none":
        return x.scatter(axis, places, call.tensor(2))
    return x.scatter_reduce(axis, places, call.tensor(2), _SCATTER[how])


@operator("ScatterND")
def scatter_nd(call: Call) -> Value:
    """Put slices at tuples of indices."""
    how = call.attribute("reduction", "none")
    if how not in ("none", "add"):
        raise Refusal(f"Its reduction must be none or add, and is {how!r}. Export without it.")
    places = tuple(call.tensor(1).unbind(-1))
    return call.tensor(0).index_put(places, call.tensor(2), accumulate=how == "add")


@operator("OneHot")
def one_hot(call: Call) -> Value:
    """Write one value at an index and another elsewhere."""
    depth, axis = call.ints(1)[0], call.attribute("axis", -1)
    off, on = call.tensor(2).reshape(-1).unbind()
    index = call.tensor(0).to(torch.int64).unsqueeze(-1)
    hot = torch.where(index < 0, index + depth, index) == torch.arange(depth)
    return torch.where(hot.movedim(-1, axis), on, off)


@operator("Compress")
def compress(call: Call) -> Value:
    """Keep slices that a known condition marks."""
    x, axis = call.tensor(0), call.attribute("axis")
    if axis is None:
        x, axis = x.reshape(-1), 0
    places = [i for i, keep in enumerate(call.known(1).ravel().tolist()) if keep]
    return x.index_select(axis, torch.tensor(places, dtype=torch.int64))


@operator("GridSample")
def grid_sample(call: Call) -> Value:
    """Sample an image at places that a tensor names."""
    mode = call.attribute("mode", "bilinear")
    names = {"linear": "bilinear", "cubic": "bicubic"}
    return F.grid_sample(
        call.tensor(0),
        call.tensor(1),
        names.get(mode, mode),
        call.attribute("padding_mode", "zeros"),
        bool(call.attribute("align_corners", 0)),
    )
