"""Loops over channels-last memory, missing in torch or slow there."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quant.engine.fused_convolution import FusedConvolution
from quant.torch_state import wait_while_tracing

Floats = NDArray[np.float32]
Given = ParamSpec("Given")
Made = TypeVar("Made")

VECTORS = frozenset({"reassoc", "contract", "nsz", "nnan", "ninf"})
"""What lets sums become vector instructions: any order of terms, and no value that is special."""


def compile_loop(
    allowed: frozenset[str] = frozenset(),
) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Decorate a function for Numba; `allowed` are freedoms with real numbers.

    Numba, of 60 MB, is imported at the first call. The machine code is kept on disk, and the lock
    of the interpreter is released while the loop runs.
    """

    def decorate_loop(loop: Callable[Given, Made]) -> Callable[Given, Made]:
        made: list[Any] = []

        @wait_while_tracing
        @wraps(loop)
        def call_compiled(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            if not made:
                from numba import njit  # noqa: PLC0415

                made.append(njit(cache=True, nogil=True, fastmath=set(allowed))(loop))
            result: Made = made[0](*args, **kwargs)
            return result

        return call_compiled

    return decorate_loop


def depthwise_gradient(
    convolution: FusedConvolution, gradient: Tensor, x: Tensor, kernel: tuple[int, int]
) -> Tensor:
    """Return (N, kh * kw * C): for each image the gradient at the weight (C, 1, kh, kw).

    The gradient is a sum over positions of x (N, C, H, W) times the gradient at the output.
    """
    steps = (*convolution.stride, *convolution.padding, *convolution.dilation)
    found = np.zeros((len(x), *kernel, x.shape[1]), np.float32)
    _add_shifted_products(
        _channels_last_array(x), _channels_last_array(gradient), np.array(steps), found
    )
    return torch.from_numpy(found).flatten(1)


def gradient_between_limits(gradient: Tensor, y: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the gradient (N, C, H, W) where y lies between limits (C, 1, 1), and 0 elsewhere."""
    found = np.empty((len(y), *y.shape[2:], y.shape[1]), np.float32)
    limits = [limit.expand(y.shape[1], 1, 1).flatten().numpy() for limit in (low, high)]
    _keep_between_limits(
        _channels_last_array(gradient), _channels_last_array(y), limits[0], limits[1], found
    )
    return torch.from_numpy(found).permute(0, 3, 1, 2)


def _channels_last_array(values: Tensor) -> Floats:
    return np.asarray(values.permute(0, 2, 3, 1).contiguous().numpy())


@compile_loop(VECTORS)
def _add_shifted_products(
    x: Floats, gradient: Floats, steps: NDArray[np.int64], found: Floats
) -> None:
    """Add the products of x (N, H, W, C) and the gradient at each tap to `found` (N, kh, kw, C)."""
    down, right, above, left, row_taps, column_taps = steps
    images, rows, columns, channels = gradient.shape
    for image in range(images):
        for row in range(rows):
            for i in range(found.shape[1]):
                h = row * down - above + i * row_taps
                if h < 0 or h >= x.shape[1]:
                    continue
                for column in range(columns):
                    for j in range(found.shape[2]):
                        w = column * right - left + j * column_taps
                        if w < 0 or w >= x.shape[2]:
                            continue
                        # one index for each value in the inner loop, or it stays scalar
                        total = found[image, i, j]
                        g, value = gradient[image, row, column], x[image, h, w]
                        for channel in range(channels):
                            total[channel] += g[channel] * value[channel]


@compile_loop()
def _keep_between_limits(
    gradient: Floats, y: Floats, low: Floats, high: Floats, found: Floats
) -> None:
    """Write the gradient inside the limits to `found`; arrays (N, H, W, C) but for the limits."""
    images, rows, columns, channels = y.shape
    for image in range(images):
        for row in range(rows):
            for column in range(columns):
                g, value = gradient[image, row, column], y[image, row, column]
                kept = found[image, row, column]
                for channel in range(channels):
                    inside = low[channel] < value[channel] < high[channel]
                    kept[channel] = g[channel] if inside else np.float32(0)
