"""The gradient at the weight of a depthwise convolution, image by image, which torch has not."""

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from quant.fused_convolution import FusedConvolution

Floats = NDArray[np.float32]


def depthwise_gradient(
    convolution: FusedConvolution, gradient: Tensor, x: Tensor, kernel: tuple[int, int]
) -> Tensor:
    """Return (N, kh * kw * C) at the weight (C, 1, kh, kw) from that at the output (N, C, H, W).

    All are sums over positions of an image, of gradient times input; memory is channels last.
    """
    steps = (*convolution.stride, *convolution.padding, *convolution.dilation)
    found = np.zeros((len(x), *kernel, x.shape[1]), np.float32)
    _add_products(_last(x), _last(gradient), np.array(steps), found)
    return torch.from_numpy(found).flatten(1)


def _last(values: Tensor) -> Floats:
    return np.asarray(values.permute(0, 2, 3, 1).contiguous().numpy())


@njit(fastmath=True, cache=True, nogil=True)
def _add_products(x: Floats, gradient: Floats, steps: Any, found: Floats) -> None:
    """Add to `found` (N, kh, kw, C) what x (N, H, W, C) and the gradient give at each tap."""
    down, right, above, left, row_taps, column_taps = steps
    images, rows, columns, channels = gradient.shape
    for image in range(images):
        for i in range(found.shape[1]):
            for row in range(rows):
                h = row * down - above + i * row_taps
                if h < 0 or h >= x.shape[1]:
                    continue
                for j in range(found.shape[2]):
                    total = found[image, i, j]
                    for column in range(columns):
                        w = column * right - left + j * column_taps
                        if w < 0 or w >= x.shape[2]:
                            continue
                        g, value = gradient[image, row, column], x[image, h, w]
                        for channel in range(channels):
                            total[channel] += g[channel] * value[channel]
