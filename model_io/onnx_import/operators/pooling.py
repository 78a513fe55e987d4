"""Pooling: over windows and over whole images."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.convolution import Pair, elements_in_window, window_settings
from model_io.onnx_import.operators.pieces import pad_by_pairs
from model_io.onnx_import.operators.table import register_operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_GLOBAL = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
NO_PAD: Pair = (0, 0)


def _fitting_ceil_mode(
    x: Tensor,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    pads: list[Pair],
    *,
    ceil: bool,
) -> bool | None:
    """Return the ceil_mode with ONNX's windows in torch for x (N, C, *), or None.

    torch pads `before` on both sides and ignores elements outside, so unequal pads are harmless if
    the number of windows is right. None means that neither mode gives the number.
    """
    fits = {False, True}
    for size, k, s, d, (before, after) in zip(
        x.shape[2:], kernel, strides, dilations, pads, strict=True
    ):
        reach = (k - 1) * d + 1
        if not 0 <= before <= k // 2 or after >= reach:
            return None
        wish = _window_count(size + before + after - reach, s, size + before, ceil=ceil)
        for mode in (False, True):
            if _window_count(size + 2 * before - reach, s, size + before, ceil=mode) != wish:
                fits.discard(mode)
    return min(fits) if fits else None


def _window_count(room: int, stride: int, inside: int, *, ceil: bool) -> int:
    """Return the number of windows; no window starts behind the end of the input."""
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= inside else count


@register_operator("MaxPool")
def apply_max_pool(call: Call) -> Value:
    """Return the maximum of each window."""
    if len(call.step.outputs) > 1 and call.step.outputs[1]:
        raise Refusal("Its second output, the places, is not read. Export without it.")
    x, kernel = call.input_tensor(0), call.attribute_value("kernel_shape")
    strides, dilations, pads = window_settings(call, x, kernel)
    ceil = bool(call.attribute_value("ceil_mode", 0))
    run: Any = _MAX[len(kernel)]
    mode = _fitting_ceil_mode(x, kernel, strides, dilations, pads, ceil=ceil)
    if mode is None:
        x = pad_by_pairs(x, [NO_PAD, NO_PAD, *pads], "constant", float("-inf"))
        return run(x, kernel, strides, 0, dilations, ceil)  # type: ignore[no-any-return]
    return run(x, kernel, strides, [b for b, _ in pads], dilations, mode)  # type: ignore[no-any-return]


@register_operator("AveragePool")
def apply_average_pool(call: Call) -> Value:
    """Return the mean of each window, with or without the pads."""
    x, kernel = call.input_tensor(0), call.attribute_value("kernel_shape")
    strides, dilations, pads = window_settings(call, x, kernel)
    if any(d != 1 for d in dilations):
        raise Refusal(f"Its dilations must be 1, and are {dilations}. Export without them.")
    counted = bool(call.attribute_value("count_include_pad", 0))
    ceil = bool(call.attribute_value("ceil_mode", 0))
    run: Any = _AVERAGE[len(kernel)]
    equal = all(b == a <= k // 2 for (b, a), k in zip(pads, kernel, strict=True))
    if counted and not equal:
        x = pad_by_pairs(x, [NO_PAD, NO_PAD, *pads], "constant", 0.0)
        return run(x, kernel, strides, 0, ceil)  # type: ignore[no-any-return]
    mode = ceil if counted else _fitting_ceil_mode(x, kernel, strides, dilations, pads, ceil=ceil)
    if mode is not None:
        return run(x, kernel, strides, [b for b, _ in pads], mode, counted)  # type: ignore[no-any-return]
    around = [NO_PAD, NO_PAD, *pads]
    ones = torch.ones_like(x[:1, :1])
    total = run(pad_by_pairs(x, around, "constant", 0.0), kernel, strides, 0, ceil)
    return total / run(pad_by_pairs(ones, around, "constant", 0.0), kernel, strides, 0, ceil)  # type: ignore[no-any-return]


@register_operator("GlobalAveragePool")
def global_average_pool(call: Call) -> Value:
    """Return the mean of a channel's image."""
    x = call.input_tensor(0)
    run: Any = _GLOBAL.get(x.dim() - 2)
    return x.mean(list(range(2, x.dim())), keepdim=True) if run is None else run(x, 1)


@register_operator("GlobalMaxPool")
def global_max_pool(call: Call) -> Value:
    """Return the maximum of a channel's image."""
    x = call.input_tensor(0)
    return x.amax(list(range(2, x.dim())), keepdim=True)


@register_operator("GlobalLpPool")
def global_lp_pool(call: Call) -> Value:
    """Return the p-norm of a channel's image."""
    x = call.input_tensor(0)
    norm: Tensor = torch.linalg.vector_norm(
        x, call.attribute_value("p", 2), list(range(2, x.dim())), keepdim=True
    )
    return norm


@register_operator("LpPool")
def apply_lp_pool(call: Call) -> Value:
    """Return the p-norm of a window."""
    x, kernel, p = (
        call.input_tensor(0),
        call.attribute_value("kernel_shape"),
        call.attribute_value("p", 2),
    )
    strides, dilations, pads = window_settings(call, x, kernel)
    if any(d != 1 for d in dilations):
        raise Refusal(f"Its dilations must be 1, and are {dilations}. Export without them.")
    powers = pad_by_pairs(x.abs() ** p, [NO_PAD, NO_PAD, *pads], "constant", 0.0)
    run: Any = _AVERAGE[len(kernel)]
    ceil = bool(call.attribute_value("ceil_mode", 0))
    return (run(powers, kernel, strides, 0, ceil) * elements_in_window(kernel)) ** (1 / p)  # type: ignore[no-any-return]
