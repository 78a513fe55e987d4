"""Resizing images, with the coordinate modes of ONNX."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value

Array = NDArray[np.floating[Any]]
MOST_WEIGHTS = 2**24
"""Elements of the matrix of an interpolation that torch has no operator for."""
_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@register_operator("Upsample", settings=(1, 2, 3))
def upsample_by_factors(call: Call) -> Value:
    """Enlarge by factors, the way of opset 9."""
    x = call.input_tensor(0)
    scales = [float(s) for s in call.known_numbers(1).ravel().tolist()]
    return _resize_axes(call, x, scales, None)


@register_operator("Resize", settings=(1, 2, 3))
def resize_tensor(call: Call) -> Value:
    """Resize by factors or to sizes."""
    x = call.input_tensor(0)
    if call.opset == 10:
        return _resize_axes(
            call, x, [float(s) for s in call.known_numbers(1).ravel().tolist()], None
        )
    if call.attribute_value("antialias", 0) or call.attribute_value(
        "keep_aspect_ratio_policy", "stretch"
    ) != ("stretch"):
        raise Refusal("It must not smooth nor keep the aspect ratio. Export without these.")
    axes = [a % x.dim() for a in call.attribute_value("axes", range(x.dim()))]
    scales: list[float] = [1.0] * x.dim()
    if call.has_input(2) and call.known_numbers(2).size:
        for axis, scale in zip(axes, call.known_numbers(2).ravel().tolist(), strict=True):
            scales[axis] = float(scale)
        return _resize_axes(call, x, scales, None)
    sizes = list(x.shape)
    for axis, size in zip(axes, call.known_integers(3), strict=True):
        # the batch is equal on both sides: the factor is 1, although both sizes are symbols
        same = not isinstance(size, int) or not isinstance(x.shape[axis], int)
        sizes[axis] = x.shape[axis] if same else size
        scales[axis] = 1.0 if same else size / x.shape[axis]
    return _resize_axes(call, x, scales, sizes)


def _resize_axes(call: Call, x: Tensor, scales: list[float], sizes: list[int] | None) -> Tensor:
    """Resize the axes of `x` with a factor other than one; the shape becomes the target shape."""
    mode = call.attribute_value("mode", "nearest")
    place = call.attribute_value("coordinate_transformation_mode", "half_pixel")
    if call.step.operator == "Upsample" or call.opset == 10:
        place = "asymmetric"
    if place == "tf_crop_and_resize":
        raise Refusal("It crops and resizes at once (tf_crop_and_resize). Export without it.")
    if (done := _resize_with_torch(call, x, scales, sizes, (mode, place))) is not None:
        return done
    for axis, scale in enumerate(scales):
        if scale == 1:
            continue
        source = x.shape[axis]
        target = sizes[axis] if sizes is not None else math.floor(source * scale)
        if source * target > MOST_WEIGHTS:
            raise Refusal(f"It must not resize {source} elements to {target}; give smaller sizes.")
        places = _source_coordinates(place, source, target, scale)
        if mode == "nearest":
            x = x.index_select(axis, _nearest_indices(call, places, source, grows=scale > 1))
        else:
            weights = _interpolation_weights(call, mode, places, source)
            x = (x.movedim(axis, -1) @ weights).movedim(-1, axis)
    return x


def _resize_with_torch(
    call: Call, x: Tensor, scales: list[float], sizes: list[int] | None, how: tuple[str, str]
) -> Tensor | None:
    """Resize x (N, C, *) with torch's operator if the results agree; else return None."""
    if x.dim() not in _LINEAR or any(s != 1 for s in scales[:2]) or all(s == 1 for s in scales):
        return None
    mode, place = how
    size = None if sizes is None else sizes[2:]
    factor = scales[2:] if sizes is None else None
    if mode == "nearest":
        whole = all(s == int(s) for s in scales)
        rounded = call.attribute_value("nearest_mode", "round_prefer_floor")
        old = call.opset < 11 and min(scales) >= 1
        simple = place == "asymmetric" and (rounded == "floor" or old)
        middle = place in ("half_pixel", "pytorch_half_pixel") and rounded.startswith("round")
        if simple or (whole and middle):
            return F.interpolate(x, size, factor, "nearest")
        return None
    half, corners = place in ("half_pixel", "pytorch_half_pixel"), place == "align_corners"
    if place == "pytorch_half_pixel" and sizes is not None and 1 in sizes[2:]:
        return None
    if mode == "cubic":
        plain = call.attribute_value("cubic_coeff_a", -0.75) == -0.75
        if x.dim() != 4 or not plain or call.attribute_value("exclude_outside", 0):
            return None
    elif mode != "linear":
        raise Refusal(f"Its mode must be nearest, linear or cubic, and is {mode!r}.")
    if not half and not corners:
        return None
    name = "bicubic" if mode == "cubic" else _LINEAR[x.dim()]
    return F.interpolate(x, size, factor, name, align_corners=corners)


def _source_coordinates(place: str, source: int, target: int, scale: float) -> Array:
    """Return the source coordinate of every target element, in float32 like other runtimes."""
    places = np.arange(target, dtype=np.float32)
    factor, half = np.float32(scale), np.float32(0.5)
    if place == "align_corners":
        return places * np.float32(source - 1) / np.float32(max(target - 1, 1))
    if place == "asymmetric":
        return places / factor
    if place == "pytorch_half_pixel" and target == 1:
        return places * 0
    offset = np.float32(0)
    if place == "half_pixel_symmetric":
        offset = np.float32(source / 2) * (1 - np.float32(target) / (factor * np.float32(source)))
    return offset + (places + half) / factor - half


def _nearest_indices(call: Call, places: Array, source: int, *, grows: bool) -> Tensor:
    """Return the index of the nearest element, of shape (target,); the mode decides ties."""
    mode = call.attribute_value("nearest_mode", "round_prefer_floor")
    if call.opset < 11:
        mode = "floor" if grows else "ceil"
    ways: dict[str, Callable[[Array], Array]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
    }
    return torch.from_numpy(np.clip(ways[mode](places), 0, source - 1).astype(np.int64))


def _interpolation_weights(call: Call, mode: str, places: Array, source: int) -> Tensor:
    """Return the matrix (source, target) of a linear or cubic interpolation."""
    a = call.attribute_value("cubic_coeff_a", -0.75)
    matrix = np.zeros((source, len(places)))
    first = np.floor(places).astype(int)
    for tap in (0, 1) if mode == "linear" else (-1, 0, 1, 2):
        index = first + tap
        distance = np.abs(places - index)
        part = 1 - distance if mode == "linear" else _cubic_weight(distance, a)
        if call.attribute_value("exclude_outside", 0):
            part = np.where((index >= 0) & (index < source), part, 0)
        np.add.at(matrix, (np.clip(index, 0, source - 1), np.arange(len(places))), part)
    return torch.from_numpy((matrix / matrix.sum(0)).astype(np.float32))


def _cubic_weight(distance: Array, a: float) -> Array:
    """Return the weight of a neighbour (Keys, 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)
