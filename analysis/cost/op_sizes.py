"""Sizes of an operation as the cost model counts them: channels, planes, windows, products."""

import math
from collections import Counter
from typing import Any

from quant.graph.layers import Layer
from quant.spec import QuantSpec


def matmul_sizes(layer: Layer) -> dict[str, Any]:
    """Return the sizes of a product; from the output, as an operand may be a constant."""
    rows, columns = (1, *layer.shape)[-2:]
    depth = layer.macs // math.prod(layer.shape)
    groups = math.prod(layer.shape[:-2])
    return {"batch": rows, "c_in": depth, "c_out": columns, "groups": groups}


def plane_sizes(before: tuple[int, ...], after: tuple[int, ...]) -> dict[str, Any]:
    """Return channels, height and width of input and output; other ranks fill the height."""
    c_in, in_h, in_w = _channels_height_width(before)
    c_out, out_h, out_w = _channels_height_width(after)
    return {
        "c_in": c_in, "in_h": in_h, "in_w": in_w, "c_out": c_out, "out_h": out_h, "out_w": out_w,
    }  # fmt: skip


def _channels_height_width(shape: tuple[int, ...]) -> tuple[int, int, int]:
    sizes = (*shape[1:], 1, 1, 1)
    if len(shape) == 3:  # one axis of space: the width
        return sizes[0], 1, sizes[1]
    return sizes[0], sizes[1], math.prod(sizes[2:])


def window_of(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, int]:
    """Return how many values of a plane make one of the other."""
    _, in_h, in_w = _channels_height_width(before)
    _, out_h, out_w = _channels_height_width(after)
    return max(1, in_h // out_h), max(1, in_w // out_w)


def pair_of(value: object) -> tuple[int, int]:
    """Return (height, width) of a kernel or stride; a third axis of space joins the width."""
    sizes = [int(v) for v in value if isinstance(v, int)] if isinstance(value, list | tuple) else []
    if not sizes:
        return (value, value) if isinstance(value, int) else (1, 1)
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], math.prod(sizes[1:]))


def width_groups(spec: QuantSpec, columns: int) -> tuple[tuple[int, int], ...]:
    """Return (bits, columns of the product), the narrowest first; empty for one width."""
    counts, channels = Counter(spec.channel_bits), len(spec.channel_bits)
    return tuple((bits, counts[bits] * columns // channels) for bits in sorted(counts))
