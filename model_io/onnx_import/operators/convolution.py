"""Convolutions, and the padding modes of ONNX."""

import math
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.pieces import pad_by_pairs
from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value

Pair = tuple[Any, Any]
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
WEIGHTS = ["", "weight", "bias"]


def window_settings(
    call: Call, x: Tensor, kernel: list[int]
) -> tuple[list[int], list[int], list[Pair]]:
    """Return (strides, dilations, pads before and after) of the spatial axes of x (N, C, *)."""
    axes = x.dim() - 2
    strides = call.attribute_value("strides", [1] * axes)
    dilations = call.attribute_value("dilations", [1] * axes)
    if not len(kernel) == len(strides) == len(dilations) == axes or axes not in _CONV:
        raise Refusal(
            f"Its window must have a size for each of 1 to 3 spatial axes, and has {kernel} for a "
            f"tensor of {x.dim()} axes."
        )
    mode = call.attribute_value("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        each = zip(x.shape[2:], kernel, strides, dilations, strict=True)
        pads = [same_size_pads(*sizes, lower=mode == "SAME_LOWER") for sizes in each]
    else:
        flat = call.attribute_value("pads", [0] * 2 * axes) if mode == "NOTSET" else [0] * 2 * axes
        pads = list(zip(flat[:axes], flat[axes:], strict=True))
    return strides, dilations, pads


def same_size_pads(size: int, kernel: int, stride: int, dilation: int, *, lower: bool) -> Pair:
    """Return the pads for an output of `size` / `stride` elements, rounded up."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)


@register_operator("Conv", weights=WEIGHTS)
def apply_convolution(call: Call) -> Value:
    """Convolve; unequal pads are put around the input first."""
    x, weight = call.input_tensor(0), call.input_tensor(1)
    strides, dilations, pads = window_settings(call, x, list(weight.shape[2:]))
    if any(before != after or before < 0 for before, after in pads):
        x, pads = pad_by_pairs(x, [(0, 0), (0, 0), *pads], "constant", 0.0), [(0, 0)] * len(pads)
    run: Any = _CONV[x.dim() - 2]
    groups = call.attribute_value("group", 1)
    return run(x, weight, call.optional_tensor(2), strides, [p for p, _ in pads], dilations, groups)  # type: ignore[no-any-return]


@register_operator("ConvTranspose", weights=WEIGHTS)
def apply_transposed_convolution(call: Call) -> Value:
    """Convolve backwards; pads cut the output."""
    x, weight = call.input_tensor(0), call.input_tensor(1)
    kernel = list(weight.shape[2:])
    strides, dilations, pads = window_settings(call, x, kernel)
    extra = call.attribute_value("output_padding", [0] * len(kernel))
    full = [
        (n - 1) * s + (k - 1) * d + 1 + e
        for n, s, k, d, e in zip(x.shape[2:], strides, kernel, dilations, extra, strict=True)
    ]
    wish = call.attribute_value("output_shape")
    mode = call.attribute_value("auto_pad", "NOTSET")
    if wish is None and mode.startswith("SAME"):
        wish = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if wish is not None:
        totals = [f - w for f, w in zip(full, wish[-len(kernel) :], strict=True)]
        extra = [e + max(-t, 0) for e, t in zip(extra, totals, strict=True)]
        totals = [max(t, 0) for t in totals]
        halves = [(t // 2, t - t // 2) for t in totals]
        pads = halves if mode == "SAME_UPPER" else [(b, a) for a, b in halves]
    groups = call.attribute_value("group", 1)
    run: Any = _TRANSPOSE[x.dim() - 2]
    if all(
        b == a and 0 <= b <= (k - 1) * d
        for (b, a), k, d in zip(pads, kernel, dilations, strict=True)
    ):
        padding = [b for b, _ in pads]
        return run(x, weight, call.optional_tensor(2), strides, padding, extra, groups, dilations)  # type: ignore[no-any-return]
    y = run(x, weight, call.optional_tensor(2), strides, 0, extra, groups, dilations)
    for axis, (before, after) in enumerate(pads, 2):
        y = y.narrow(axis, before, y.shape[axis] - before - after)
    return y  # type: ignore[no-any-return]


def elements_in_window(kernel: list[int]) -> int:
    """Return the number of elements in a window."""
    return math.prod(kernel)
