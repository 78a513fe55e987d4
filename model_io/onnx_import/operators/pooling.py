"""Pooling: over windows and over whole images."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from model_io.onnx_import.operators.convolution import Pair, elements, window
from model_io.onnx_import.operators.pieces import padded
from model_io.onnx_import.operators.table import operator
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.values import Value

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_GLOBAL = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
NO_PAD: Pair = (0, 0)


def _fitting(
    x: Tensor,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    pads: list[Pair],
    *,
    ceil: bool,
) -> bool | None:
    """Return the ceil_mode with which torch, padding `before` on both sides, gives ONNX's windows.

    torch leaves out what lies outside, so unequal pads do not matter if the count of windows is
    right; None where neither mode has it.
    """
    fits = {False, True}
    for size, k, s, d, (before, after) in zip(
        x.shape[2:], kernel, strides, dilations, pads, strict=True
    ):
        reach = (k - 1) * d + 1
        if not 0 <= before <= k // 2 or after >= reach:
            return None
        wish = _windows(size + before + after - reach, s, size + before, ceil=ceil)
        for mode in (False, True):
            if _windows(size + 2 * before - reach, s, size + before, ceil=mode) != wish:
                fits.discard(mode)
    return min(fits) if fits else None


def _windows(room: int, stride: int, inside: int, *, ceil: bool) -> int:
    """Return how many windows there are; none may start behind the end of the input."""
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= inside else count


@operator("MaxPool")
def max_pool(call: Call) -> Value:
    """Return the greatest value in each window."""
    if len(call.step.outputs) > 1 and call.step.outputs[1]:
        raise Refusal("Its second output, the places, is not read. Export without it.")
    x, kernel = call.tensor(0), call.attribute("kernel_shape")
    strides, dilations, pads = window(call, x, kernel)
    ceil = bool(call.attribute("ceil_mode", 0))
    run: Any = _MAX[len(kernel)]
    mode = _fitting(x, kernel, strides, dilations, pads, ceil=ceil)
    if mode is None:
        x = padded(x, [NO_PAD, NO_PAD, *pads], "constant", float("-inf"))
        return run(x, kernel, strides, 0, dilations, ceil)  # type: ignore[no-any-return]
    return run(x, kernel, strides, [b for b, _ in pads], dilations, mode)  # type: ignore[no-any-return]


@operator("AveragePool")
def average_pool(call: Call) -> Value:
    """Return the mean of each window, with or without the pads."""
    x, kernel = call.tensor(0), call.attribute("kernel_shape")
    strides, dilations, pads = window(call, x, kernel)
    if any(d != 1 for d in dilations):
        raise Refusal(f"Its dilations must be 1, and are {dilations}. Export without them.")
    counted = bool(call.attribute("count_include_pad", 0))
    ceil = bool(call.attribute("ceil_mode", 0))
    run: Any = _AVERAGE[len(kernel)]
    equal = all(b == a <= k // 2 for (b, a), k in zip(pads, kernel, strict=True))
    if counted and not equal:
        x = padded(x, [NO_PAD, NO_PAD, *pads], "constant", 0.0)
        return run(x, kernel, strides, 0, ceil)  # type: ignore[no-any-return]
    mode = ceil if counted else _fitting(x, kernel, strides, dilations, pads, ceil=ceil)
    if mode is not None:
        return run(x, kernel, strides, [b for b, _ in pads], mode, counted)  # type: ignore[no-any-return]
    around = [NO_PAD, NO_PAD, *pads]
    ones = torch.ones_like(x[:1, :1])
    total = run(padded(x, around, "constant", 0.0), kernel, strides, 0, ceil)
    return total / run(padded(ones, around, "constant", 0.0), kernel, strides, 0, ceil)  # type: ignore[no-any-return]


@operator("GlobalAveragePool")
def global_average_pool(call: Call) -> Value:
    """Return the mean of each channel's image."""
    x = call.tensor(0)
    run: Any = _GLOBAL.get(x.dim() - 2)
    return x.mean(list(range(2, x.dim())), keepdim=True) if run is None else run(x, 1)


@operator("GlobalMaxPool")
def global_max_pool(call: Call) -> Value:
    """Return the greatest value of each channel's image."""
    x = call.tensor(0)
    return x.amax(list(range(2, x.dim())), keepdim=True)


@operator("GlobalLpPool")
def global_lp_pool(call: Call) -> Any:
    """Return the p-norm of each channel's image."""
    x = call.tensor(0)
    return torch.linalg.vector_norm(
        x, call.attribute("p", 2), list(range(2, x.dim())), keepdim=True
    )


@operator("LpPool")
def lp_pool(call: Call) -> Value:
    """Return the p-norm of each window."""
    x, kernel, p = call.tensor(0), call.attribute("kernel_shape"), call.attribute("p", 2)
    strides, dilations, pads = window(call, x, kernel)
    if any(d != 1 for d in dilations):
        raise Refusal(f"Its dilations must be 1, and are {dilations}. Export without them.")
    powers = padded(x.abs() ** p, [NO_PAD, NO_PAD, *pads], "constant", 0.0)
    run: Any = _AVERAGE[len(kernel)]
    ceil = bool(call.attribute("ceil_mode", 0))
    return (run(powers, kernel, strides, 0, ceil) * elements(kernel)) ** (1 / p)  # type: ignore[no-any-return]
