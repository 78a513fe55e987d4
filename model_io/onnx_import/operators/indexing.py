"""Operators that pick or write elements by index."""

import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value, is_known_value, known_array


def _gather_known_numbers(call: Call) -> Value:
    numbers, places = call.known_numbers(0), call.known_numbers(1).astype(int)
    return known_array(numbers.take(places, call.attribute_value("axis", 0)))


@register_operator("Gather", known=_gather_known_numbers)
def gather_slices(call: Call) -> Value:
    """Pick slices along an axis by index; negative indices count from the end."""
    x, axis = call.input_tensor(0), call.attribute_value("axis", 0)
    axis %= max(x.dim(), 1)
    index = call.input_value(1)
    if is_known_value(index) and index.ndim == 0:
        return x.select(axis, call.known_integers(1)[0])
    places = _nonnegative_indices(call, 1, x.shape[axis])
    picked = x.index_select(axis, places.reshape(-1))
    return picked.reshape(tuple(x.shape[:axis]) + tuple(places.shape) + tuple(x.shape[axis + 1 :]))


def _nonnegative_indices(call: Call, index: int, length: int) -> Tensor:
    """Return indices >= 0, in the shape of the input; known indices change before the run."""
    if is_known_value(found := call.input_value(index)):
        return torch.tensor([int(i) % length for i in found.ravel().tolist()]).reshape(found.shape)
    places = call.input_tensor(index)
    return torch.where(places < 0, places + length, places)


@register_operator("GatherElements")
def gather_elements(call: Call) -> Value:
    """Pick an element at every place along an axis."""
    x, axis = call.input_tensor(0), call.attribute_value("axis", 0)
    return torch.gather(x, axis, _nonnegative_indices(call, 1, x.shape[axis]))


@register_operator("GatherND")
def gather_nd(call: Call) -> Value:
    """Pick slices by tuples of indices."""
    if call.attribute_value("batch_dims", 0):
        raise Refusal("Its batch_dims must be 0. Export without it.")
    x, places = call.input_tensor(0), call.input_tensor(1)
    return x[tuple(places.unbind(-1))]


_SCATTER = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@register_operator("Scatter", "ScatterElements")
def scatter_elements(call: Call) -> Value:
    """Write an element at every place along an axis."""
    x, axis = call.input_tensor(0), call.attribute_value("axis", 0)
    places = _nonnegative_indices(call, 1, x.shape[axis])
    how = call.attribute_value("reduction", "none")
    if how == "none":
        return x.scatter(axis, places, call.input_tensor(2))
    return x.scatter_reduce(axis, places, call.input_tensor(2), _SCATTER[how])


@register_operator("ScatterND")
def scatter_nd(call: Call) -> Value:
    """Put slices at tuples of indices."""
    how = call.attribute_value("reduction", "none")
    if how not in ("none", "add"):
        raise Refusal(f"Its reduction must be none or add, and is {how!r}. Export without it.")
    places = tuple(call.input_tensor(1).unbind(-1))
    return call.input_tensor(0).index_put(places, call.input_tensor(2), accumulate=how == "add")


@register_operator("OneHot")
def encode_one_hot(call: Call) -> Value:
    """Write one value at an index and another value elsewhere."""
    depth, axis = call.known_integers(1)[0], call.attribute_value("axis", -1)
    off, on = call.input_tensor(2).reshape(-1).unbind()
    index = call.input_tensor(0).to(torch.int64).unsqueeze(-1)
    hot = torch.where(index < 0, index + depth, index) == torch.arange(depth)
    return torch.where(hot.movedim(-1, axis), on, off)


@register_operator("Compress")
def compress_slices(call: Call) -> Value:
    """Keep the slices marked by a known condition."""
    x, axis = call.input_tensor(0), call.attribute_value("axis")
    if axis is None:
        x, axis = x.reshape(-1), 0
    places = [i for i, keep in enumerate(call.known_numbers(1).ravel().tolist()) if keep]
    return x.index_select(axis, torch.tensor(places, dtype=torch.int64))


@register_operator("GridSample")
def sample_image_grid(call: Call) -> Value:
    """Sample an image at the places in a tensor."""
    mode = call.attribute_value("mode", "bilinear")
    names = {"linear": "bilinear", "cubic": "bicubic"}
    return F.grid_sample(
        call.input_tensor(0),
        call.input_tensor(1),
        names.get(mode, mode),
        call.attribute_value("padding_mode", "zeros"),
        bool(call.attribute_value("align_corners", 0)),
    )


@register_operator("AffineGrid", settings=(1,))
def make_affine_grid(call: Call) -> Value:
    """Return the places (N, H, W, 2) or (N, D, H, W, 3) to which matrices (N, 2, 3) or so move."""
    theta, size = call.input_tensor(0), call.known_integers(1)
    aligned = bool(call.attribute_value("align_corners", 0))
    return F.affine_grid(theta, [theta.shape[0], *size[1:]], aligned)
