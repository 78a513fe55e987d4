"""Layers with windows, weights and states: convolutions, pools, norms, products, resizing."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.model_io.onnx_cases import OperatorCase, cases, floats, real, scalar, whole


def convolutions() -> Iterator[OperatorCase]:
    image, weight, bias = real(2, 4, 7, 9), real(6, 4, 3, 3), real(6)
    several: tuple[dict[str, Any], ...] = (
        {}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 1, 2, 0]}, {"strides": [2, 1]},
        {"dilations": [2, 2], "pads": [2, 2, 2, 2]}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"auto_pad": "VALID"},
    )  # fmt: skip
    for more in several:
        yield from cases("Conv", image, weight, bias, opsets=(9, 11, 22), **more)
        yield from cases("Conv", image, weight, opsets=(11,), **more)
    yield from cases("Conv", image, real(8, 1, 3, 3), opsets=(9, 11), group=4)
    yield from cases("Conv", real(2, 3, 9), real(4, 3, 3), real(4), opsets=(11,), pads=[1, 0])
    yield from cases("Conv", real(1, 2, 4, 4, 4), real(3, 2, 2, 2, 2), opsets=(11,))
    yield from cases("Conv", real(1, 2, 4, 4), real(1, 2, 1, 1), real(1), opsets=(11,))
    yield from cases("Conv", image, weight, opsets=(11,), flowing=(0, 1))
    back, bias = real(4, 3, 3, 3), real(3)
    backwards: tuple[dict[str, Any], ...] = (
        {}, {"strides": [2, 2]}, {"strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"strides": [2, 2], "pads": [0, 1, 1, 0]}, {"pads": [3, 3, 3, 3]},
        {"strides": [2, 2], "output_padding": [1, 1], "pads": [1, 1, 1, 1]},
        {"dilations": [2, 2]}, {"strides": [3, 2], "output_shape": [20, 18]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
    )  # fmt: skip
    for more in backwards:
        yield from cases("ConvTranspose", image, back, bias, opsets=(9, 11, 22), **more)
    yield from cases("ConvTranspose", image, real(4, 2, 3, 3), opsets=(11,), group=2)
    yield from cases("ConvTranspose", real(1, 4, 5), real(4, 3, 2), opsets=(11,), strides=[2])


def pools() -> Iterator[OperatorCase]:
    image = real(2, 3, 8, 9)
    windows: tuple[dict[str, Any], ...] = (
        {"kernel_shape": [3, 3]}, {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]},
        {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [2, 0, 1, 1]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    )  # fmt: skip
    for more in windows:
        yield from cases("MaxPool", image, opsets=(9, 12, 22), **more)
        yield from cases("AveragePool", image, opsets=(9, 11, 22), **more)
        yield from cases("AveragePool", image, opsets=(9, 11, 22), count_include_pad=1, **more)
        yield from cases("LpPool", image, opsets=(9, 11, 18), **more)
        if "auto_pad" not in more:
            yield from cases("MaxPool", image, opsets=(10, 12), ceil_mode=1, **more)
            yield from cases("AveragePool", image, opsets=(10, 19), ceil_mode=1, **more)
    yield from cases("MaxPool", image, opsets=(10, 12), kernel_shape=[2, 2], dilations=[2, 2])
    yield from cases("MaxPool", real(2, 3, 9), opsets=(12,), kernel_shape=[3], pads=[1, 0])
    yield from cases("AveragePool", real(2, 3, 9), opsets=(11,), kernel_shape=[3], strides=[2])
    yield from cases("LpPool", image, opsets=(11,), kernel_shape=[2, 2], p=3)
    for shape in ((2, 3, 4, 5), (2, 3, 7), (1, 2, 3, 4, 5)):
        yield from cases("GlobalAveragePool", real(*shape))
        yield from cases("GlobalMaxPool", real(*shape))
        yield from cases("GlobalLpPool", real(*shape), opsets=(9,))
    yield from cases("GlobalLpPool", image, opsets=(9,), p=3)


def norms() -> Iterator[OperatorCase]:
    image = real(2, 6, 4, 5)
    statistics = [real(6), real(6), real(6), real(6, low=0.2, high=2)]
    yield from cases("BatchNormalization", image, *statistics, opsets=(9, 14, 15))
    yield from cases("BatchNormalization", image, *statistics, opsets=(15,), epsilon=0.1)
    yield from cases("BatchNormalization", real(4, 6), *statistics, opsets=(9, 15))
    yield from cases("InstanceNormalization", image, real(6), real(6), epsilon=1e-3)
    tokens = real(2, 3, 8)
    yield from cases("LayerNormalization", tokens, real(8), real(8), opsets=(17,))
    yield from cases("LayerNormalization", tokens, real(8), opsets=(17,), epsilon=1e-2)
    yield from cases("LayerNormalization", tokens, real(3, 8), real(3, 8), opsets=(17,), axis=1)
    yield from cases("LayerNormalization", tokens, real(8), real(8), opsets=(17,), outputs=3)
    yield from cases("LayerNormalization", tokens, real(1, 8), real(1, 8), opsets=(17,), axis=-1)
    yield from cases("RMSNormalization", tokens, real(8), opsets=(23,))
    yield from cases("GroupNormalization", image, real(3), real(3), opsets=(18,), num_groups=3)
    yield from cases("GroupNormalization", image, real(6), real(6), opsets=(21,), num_groups=3)
    for size in (3, 5):
        yield from cases("LRN", image, size=size, alpha=0.3, beta=0.6, bias=1.5)
    for p in (1, 2):
        yield from cases("LpNormalization", image, opsets=(9,), axis=1, p=p)
    yield from cases("MeanVarianceNormalization", image, axes=[2, 3])


def products() -> Iterator[OperatorCase]:
    for left, right in (
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 1, 3, 4), (2, 4, 5)),
        ((4,), (4, 5)),
    ):
        yield from cases("MatMul", real(*left), real(*right))
        yield from cases("MatMul", real(*left), real(*right), flowing=(0, 1), opsets=(13,))
    for transposed in (0, 1):
        weight = real(5, 4) if transposed else real(4, 5)
        for bias in (real(5), real(3, 5), real(1, 5), scalar(0.3), real(3, 1)):
            yield from cases(
                "Gemm", real(3, 4), weight, bias, opsets=(9, 13), transB=transposed, alpha=0.5,
                beta=2.0,
            )  # fmt: skip
        yield from cases("Gemm", real(3, 4), weight, opsets=(11, 13), transB=transposed)
    yield from cases("Gemm", real(4, 3), real(4, 5), real(5), transA=1)
    yield from cases("Einsum", real(2, 3, 4), real(4, 5), opsets=(12,), equation="bij,jk->bik")
    yield from cases("Einsum", real(2, 3, 4), opsets=(12,), equation="bij->bji")
    heads = [real(2, 4, 3, 8), real(2, 4, 5, 8), real(2, 4, 5, 6)]
    every = (0, 1, 2)
    yield from cases("Attention", *heads, opsets=(23,), flowing=every)
    yield from cases("Attention", *heads, real(3, 5), opsets=(23,), flowing=every, scale=0.2)
    yield from cases("Attention", *heads, opsets=(23,), flowing=every, is_causal=1)
    flat = [real(2, 3, 32), real(2, 5, 16), real(2, 5, 16)]
    yield from cases("Attention", *flat, opsets=(23,), flowing=every, q_num_heads=4, kv_num_heads=2)


def resizing() -> Iterator[OperatorCase]:
    image, empty = real(1, 2, 4, 6), np.zeros(0, np.float32)
    for factor in ((1, 1, 2, 2), (1, 1, 2.5, 1.5), (1, 1, 0.6, 0.6)):
        scales = floats(factor)
        grows = min(factor) >= 1
        for mode in ("nearest", "linear"):
            if grows:
                yield from cases("Upsample", image, scales, opsets=(9,), mode=mode)
            yield from cases("Resize", image, scales, opsets=(10,), mode=mode)
        for place in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
            for mode in ("nearest", "linear", "cubic"):
                yield from cases(
                    "Resize", image, empty, scales, opsets=(11, 13, 19), mode=mode,
                    coordinate_transformation_mode=place,
                )  # fmt: skip
        for how in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
            for place in ("half_pixel", "asymmetric"):
                yield from cases(
                    "Resize", image, empty, scales, opsets=(11, 13), nearest_mode=how,
                    coordinate_transformation_mode=place,
                )  # fmt: skip
        cubic: dict[str, Any] = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}
        yield from cases("Resize", image, empty, scales, opsets=(11, 13), **cubic)


def other_resizing() -> Iterator[OperatorCase]:
    image, empty = real(1, 2, 4, 6), np.zeros(0, np.float32)
    for size in ((1, 2, 8, 9), (1, 2, 3, 3), (1, 2, 1, 1)):
        for mode in ("nearest", "linear", "cubic"):
            for place in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
                yield from cases(
                    "Resize", image, None, None, whole(*size), opsets=(13,), mode=mode,
                    coordinate_transformation_mode=place,
                )  # fmt: skip
    last = floats([1, 2, 2, 1])
    yield from cases("Resize", real(1, 4, 5, 2), empty, last, opsets=(13,), mode="linear")
    yield from cases("Resize", real(1, 4, 5, 2), empty, last, opsets=(13,), mode="nearest")
    yield from cases("Resize", image, None, floats([2, 3]), opsets=(18,), axes=[2, 3])
    yield from cases("Resize", real(1, 2, 5), empty, floats([1, 1, 2]), opsets=(13,), mode="linear")
    half: dict[str, Any] = {
        "mode": "linear",
        "coordinate_transformation_mode": "half_pixel_symmetric",
    }
    yield from cases("Resize", image, None, floats([1, 1, 1.3, 1.7]), opsets=(19,), **half)


NAMED = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Relu"]}
"""Activation functions that a file may name, in any case."""


def recurrent() -> Iterator[OperatorCase]:
    x, hidden = real(5, 2, 3), 4
    for name, gates, outputs in (("LSTM", 4, 3), ("GRU", 3, 2), ("RNN", 1, 2)):
        more: dict[str, Any] = {"linear_before_reset": 1} if name == "GRU" else {}
        for direction in ("forward", "reverse", "bidirectional"):
            ways = 2 if direction == "bidirectional" else 1
            weights = [real(ways, gates * hidden, 3), real(ways, gates * hidden, hidden)]
            bias = real(ways, 2 * gates * hidden)
            states = [real(ways, 2, hidden)] * (outputs - 1)
            settings: dict[str, Any] = {"hidden_size": hidden, "direction": direction, **more}
            opsets = (9, 14)
            yield from cases(name, x, *weights, opsets=opsets, outputs=outputs, **settings)
            yield from cases(name, x, *weights, bias, opsets=opsets, outputs=outputs, **settings)
            yield from cases(
                name, x, *weights, bias, None, *states, opsets=(14,), outputs=outputs, **settings
            )
            named = NAMED[name] * ways
            small = [] if name == "RNN" else [[text.lower() for text in named]]  # ORT minds it
            for names in (named, *small):
                yield from cases(
                    name, x, *weights, opsets=(14,), outputs=outputs, activations=names, **settings
                )
