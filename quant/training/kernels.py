"""Single passes over memory: fake quantization, and the gradients."""

import numpy as np
from numpy.typing import NDArray

from quant.engine.loops import VECTORS, compile_loop

Floats = NDArray[np.float32]
Limits = tuple[np.float32, np.float32]
"""Lower and upper limit."""


@compile_loop()
def quantize_rows(x: Floats, scale: Floats, limits: Floats, clip: Limits, y: Floats) -> None:
    """Write x (R, K), fake-quantized with a scale (R,) by row, to y (R, K).

    `limits` (R, 2) are the first and last whole number less the zero point; `clip` (floor, cap) is
    applied before. Bit-equal to `Encoding.fake_quantize`.
    """
    floor, cap = clip[0], clip[1]
    for row in range(x.shape[0]):
        step, low, high = scale[row], limits[row, 0], limits[row, 1]
        values, found = x[row], y[row]
        for place in range(values.size):
            value = min(max(values[place], floor), cap)
            found[place] = min(max(np.rint(value / step), low), high) * step


@compile_loop()
def quantize_channels(
    x: Floats, scale: np.float32, limits: Limits, caps: Floats, y: Floats
) -> None:
    """Write x (P, C), clipped to [caps[0], caps[1]] (2, C) and fake-quantized, to y (P, C)."""
    low, high = limits[0], limits[1]
    floor, cap = caps[0], caps[1]
    for row in range(x.shape[0]):
        values, found = x[row], y[row]
        for channel in range(values.size):
            value = min(max(values[channel], floor[channel]), cap[channel])
            found[channel] = min(max(np.rint(value / scale), low), high) * scale


@compile_loop(VECTORS)
def pull_row_gradients(
    g: Floats, x: Floats, y: Floats, bounds: Floats, clip: Limits, pulled: Floats, sums: Floats
) -> None:
    """Write the gradient at x (R, K) to `pulled`, from g at y, for `quantize_rows`.

    `bounds` (R, 2) are the ends of a row's encoding. `sums` (R, 2) get the gradient at the
    logarithm of the scale, sum g (y - x) inside the ends and sum g y outside (equation 40 times s),
    and the sum of g outside, the source of the gradient at the zero point (equation 42).
    """
    one, zero = np.float32(1), np.float32(0)
    floor, cap = clip[0], clip[1]
    for row in range(x.shape[0]):
        low, high = bounds[row, 0], bounds[row, 1]
        values, found, gradients, ends = x[row], y[row], g[row], pulled[row]
        at_scale, outside = zero, zero
        for place in range(values.size):
            value = min(max(values[place], floor), cap)
            inside = one if (value >= low and value <= high) else zero
            moves = inside if (values[place] > floor and values[place] < cap) else zero
            gradient = gradients[place]
            ends[place] = gradient * moves
            at_scale += gradient * (found[place] - value * inside)
            outside += gradient * (one - inside)
        sums[row, 0] = at_scale
        sums[row, 1] = outside


@compile_loop(VECTORS)
def pull_channel_gradients(
    g: Floats, x: Floats, y: Floats, bounds: Limits, caps: Floats, pulled: Floats, sums: Floats
) -> None:
    """Do as `pull_row_gradients` for `quantize_channels`: one encoding, a clip a channel."""
    one, zero = np.float32(1), np.float32(0)
    low, high = bounds[0], bounds[1]
    floor, cap = caps[0], caps[1]
    for row in range(x.shape[0]):
        values, found, gradients, ends = x[row], y[row], g[row], pulled[row]
        at_scale, outside = zero, zero
        for place in range(values.size):
            value = min(max(values[place], floor[place]), cap[place])
            inside = one if (value >= low and value <= high) else zero
            moves = (
                inside if (values[place] > floor[place] and values[place] < cap[place]) else zero
            )
            gradient = gradients[place]
            ends[place] = gradient * moves
            at_scale += gradient * (found[place] - value * inside)
            outside += gradient * (one - inside)
        sums[row, 0] = at_scale
        sums[row, 1] = outside
