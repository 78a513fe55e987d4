"""Every operator of the table with shapes, axes, opsets and broadcasts that tell it from others."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.random_numbers import RANDOM

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class OperatorCase:
    """One node on known inputs (None for one left out), in one opset.

    `flowing` are the positions of inputs that come as tensors, from the network's input; the
    others are constants of the file.
    """

    operator: str
    inputs: tuple[Array | None, ...]
    opset: int
    outputs: int = 1
    flowing: tuple[int, ...] = (0,)
    attributes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shapes = "_".join(
            "x".join(map(str, i.shape)) if i is not None else "-" for i in self.inputs
        )
        extra = "_".join(f"{k}={v}"[:24] for k, v in self.attributes.items())
        return f"{self.operator}-{self.opset}-{shapes}-{extra}".replace(" ", "")


def real(*shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def whole(*values: Any) -> Array:
    return np.array(values, np.int64)


def floats(values: Any) -> Array:
    return np.array(values, np.float32)


def scalar(value: float) -> Array:
    return np.array(value, np.float32)


def cases(
    operator: str, *inputs: Array | None, opsets: tuple[int, ...] = (9, 13, 22), outputs: int = 1,
    flowing: tuple[int, ...] = (0,), **attributes: Any,
) -> Iterator[OperatorCase]:  # fmt: skip
    for opset in opsets:
        yield OperatorCase(operator, inputs, opset, outputs, flowing, attributes)


def elementwise() -> Iterator[OperatorCase]:
    x = real(2, 3, 4)
    for name in (
        "Abs", "Atan", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "Identity",
        "LeakyRelu", "Neg", "Relu", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Tan",
        "Tanh", "Asinh", "Cosh", "Sinh",
    ):  # fmt: skip
        yield from cases(name, x)
        yield from cases(name, scalar(0.7), opsets=(13,))
    for name in ("Acos", "Asin", "Atanh"):
        yield from cases(name, real(3, 4, low=-0.9, high=0.9))
    for name in ("Log", "Sqrt", "Reciprocal"):
        yield from cases(name, real(3, 4, low=0.2, high=3.0))
    yield from cases("Acosh", real(3, 4, low=1.1, high=3.0))
    yield from cases("Round", floats([-2.5, -1.5, -0.5, 0.5, 1.5, 2.4]), opsets=(11, 22))
    yield from cases("Elu", x, alpha=0.3)
    yield from cases("Selu", x, alpha=1.2, gamma=0.8)
    yield from cases("LeakyRelu", x, alpha=0.3)
    yield from cases("HardSigmoid", x, alpha=0.4, beta=0.3)
    yield from cases("HardSigmoid", real(3, 9, low=-5, high=5), alpha=1 / 6, beta=0.5)
    yield from cases("Celu", x, opsets=(12, 22), alpha=0.7)
    yield from cases("ThresholdedRelu", x, opsets=(10, 22), alpha=0.4)
    yield from cases("Shrink", x, lambd=0.6, bias=0.2)
    yield from cases("HardSwish", real(3, 9, low=-5, high=5), opsets=(14, 22))
    yield from cases("Mish", x, opsets=(18, 22))
    yield from cases("Gelu", x, opsets=(20, 22))
    yield from cases("Gelu", x, opsets=(20,), approximate="tanh")
    yield from cases("Swish", x, opsets=(24,))
    yield from cases("Swish", x, opsets=(24,), alpha=1.4)
    for shape in ((3,), (1, 3, 1, 1), (3, 1, 1), (1,), (2, 3, 4, 4)):
        yield from cases("PRelu", real(2, 3, 4, 4), real(*shape) if shape != (3,) else real(4))
    odd = floats([1, np.nan, np.inf, -np.inf])
    yield from cases("IsNaN", odd)
    yield from cases("IsInf", odd, opsets=(10, 20))
    yield from cases("IsInf", odd, opsets=(10,), detect_negative=0)
    yield from cases("Not", np.array([True, False]))
    yield from cases("BitwiseNot", whole(1, -5), opsets=(18,))
    yield from cases("Dropout", x)
    for to in (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL):
        yield from cases("Cast", floats([-1.7, 0, 0.4, 2.9]), to=to)
        yield from cases("Cast", whole(-2, 0, 3), to=to)
    yield from cases("CastLike", x, whole(1), opsets=(15, 19))
    yield from cases("Clip", x, opsets=(9,), min=-0.5, max=0.7)
    yield from cases("Clip", x, opsets=(9,))
    for low, high in ((-0.5, 0.7), (0.0, None), (None, 0.5), (0.0, 6.0), (None, None)):
        limits = [None if v is None else scalar(v) for v in (low, high)]
        yield from cases("Clip", x * 4, *limits, opsets=(11, 13))
    yield from cases("Clip", x, scalar(-0.5), scalar(0.5), opsets=(13,), flowing=(0, 1))
    for sizes, axis in (((2, 3), 1), ((2, 3, 4), 1), ((2, 3, 4), -1), ((2, 3, 4), 2)):
        for name in ("Softmax", "LogSoftmax", "Hardmax"):
            yield from cases(name, real(*sizes), opsets=(9, 11, 13), axis=axis)
    yield from cases("Softmax", real(2, 3, 4), opsets=(9, 13))


def arithmetic() -> Iterator[OperatorCase]:
    pairs = (
        (real(2, 3, 4), real(2, 3, 4)), (real(2, 3, 4), real(3, 1)), (real(4), real(2, 3, 4)),
        (real(2, 3, 4), scalar(0.7)), (scalar(0.7), real(2, 3)), (real(3), real(1, 1, 1)),
    )  # fmt: skip
    for left, right in pairs:
        for name in ("Add", "Sub", "Mul", "Div", "Greater", "Less", "Equal"):
            opsets = (11, 14) if name == "Equal" else (9, 14)
            yield from cases(name, left, right, opsets=opsets)
            yield from cases(name, left, right, opsets=(14,), flowing=(0, 1))
            yield from cases(name, left, right, opsets=(14,), flowing=(1,))
        for name in ("GreaterOrEqual", "LessOrEqual"):
            yield from cases(name, left, right, opsets=(12, 16))
        for name in ("Max", "Min"):
            yield from cases(name, left, right, opsets=(9, 13))
            yield from cases(name, left, right, opsets=(13,), flowing=(0, 1))
        for name in ("Sum", "Mean"):
            yield from cases(name, left, right, opsets=(9, 13))
        base = np.asarray(np.abs(left))
        yield from cases("Pow", base, right, opsets=(9, 15))
        yield from cases("Pow", base, right, opsets=(15,), flowing=(1,))
        yield from cases("Mod", left, right, opsets=(10, 13), fmod=1)


def more_arithmetic() -> Iterator[OperatorCase]:
    for name in ("Max", "Sum", "Mean", "Min"):
        yield from cases(name, real(2, 3), real(3), real(2, 1))
        yield from cases(name, real(2, 3), opsets=(13,))
    yield from cases("Max", real(2, 3), scalar(0), opsets=(9, 13))
    yield from cases("Pow", real(2, 3), scalar(2), opsets=(9, 13))
    yield from cases("Pow", real(2, 3), whole(3), opsets=(13,))
    for name in ("Add", "Sub", "Mul", "Div", "Equal", "Greater"):
        yield from cases(name, whole(-7, 7, 6, -6), whole(2, -2, 4, 3), opsets=(11, 14))
    yield from cases("Mod", whole(-7, 7, 6, -6), whole(2, -2, 4, 4), opsets=(10, 13))
    truth = np.array([True, True, False, False]), np.array([True, False, True, False])
    for name in ("And", "Or", "Xor"):
        yield from cases(name, *truth)
    for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        yield from cases(name, whole(12, 10), whole(10, 7), opsets=(18,))
    bits = np.array([16, 4, 1], np.uint64), np.array([1, 2, 3], np.uint64)
    yield from cases("BitShift", *bits, opsets=(11,), direction="LEFT", flowing=(0, 1))
    yield from cases("BitShift", *bits, opsets=(11,), direction="RIGHT", flowing=(0, 1))
    condition = np.array([[True, False, True], [False, True, False]])
    yield from cases("Where", condition, real(2, 3), real(3), opsets=(9, 16), flowing=(0, 1))
    yield from cases("Where", condition, scalar(1), real(2, 3), opsets=(9, 16))
    yield from cases("Where", condition, scalar(1), scalar(-1), opsets=(16,))
    ways: tuple[dict[str, Any], ...] = (
        {}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}
    )  # fmt: skip
    for more in ways:
        yield from cases("CumSum", real(2, 3, 4), np.array(1), opsets=(11, 14), **more)
    yield from cases("CumSum", real(2, 3), np.array(-1), opsets=(14,))


def reductions() -> Iterator[OperatorCase]:
    x = real(2, 3, 4, low=0.2, high=2.0)
    for name in (
        "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
        "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
    ):  # fmt: skip
        old = (9, 11) if name == "ReduceSum" else (9, 11, 13)
        for axes in ([1], [-1], [0, 2], [1, -1]):
            for keep in (0, 1):
                yield from cases(name, x, opsets=old, axes=axes, keepdims=keep)
                new = (13, 22) if name == "ReduceSum" else (18, 22)
                yield from cases(name, x, whole(*axes), opsets=new, keepdims=keep)
        yield from cases(name, x, opsets=(9, 13, 18), keepdims=0)
        yield from cases(name, x, opsets=(18,))
        yield from cases(name, x, opsets=(18,), noop_with_empty_axes=1)
    ties = floats([[1, 3, 3, 2], [5, 5, 1, 5]])
    for name in ("ArgMax", "ArgMin"):
        for axis, keep in ((0, 1), (1, 0), (-1, 1)):
            yield from cases(name, ties, opsets=(9, 11, 13), axis=axis, keepdims=keep)
            yield from cases(name, ties, opsets=(12,), axis=axis, select_last_index=1)
    for largest in (0, 1):
        yield from cases("TopK", ties, whole(2), opsets=(11, 24), outputs=2, largest=largest)
    yield from cases("TopK", ties, whole(1), opsets=(10, 11), outputs=2, axis=0)
    yield from cases("TopK", ties, opsets=(9,), outputs=2, axis=1, k=3)


def shaping() -> Iterator[OperatorCase]:
    x = real(2, 3, 4)
    yield from cases("Shape", x)
    yield from cases("Shape", x, opsets=(15, 21), start=1)
    yield from cases("Shape", x, opsets=(15,), start=-3, end=-1)
    yield from cases("Size", x)
    for target in ((6, 4), (0, -1), (-1,), (0, 0, 2, 2), (1, 2, 3, 4)):
        yield from cases("Reshape", x, whole(*target), opsets=(9, 14, 21))
    yield from cases("Reshape", whole(1, 2, 3, 4), whole(2, 2), opsets=(13,))
    for axis in (0, 1, 2, 3, -1):
        yield from cases("Flatten", x, opsets=(9 if axis >= 0 else 11, 13), axis=axis)
    thin = real(1, 3, 1, 4)
    yield from cases("Squeeze", thin, opsets=(9, 11, 13))
    for axes in ([0], [2], [0, 2]):
        yield from cases("Squeeze", thin, opsets=(9, 11), axes=axes)
        yield from cases("Squeeze", thin, whole(*axes), opsets=(13, 21))
        yield from cases("Unsqueeze", x, opsets=(9, 11), axes=axes)
        yield from cases("Unsqueeze", x, whole(*axes), opsets=(13, 21))
    yield from cases("Unsqueeze", x, whole(-1, 1), opsets=(13,))
    yield from cases("Unsqueeze", np.array(3), whole(0), opsets=(13,))
    for order in ([1, 0, 2], [2, 0, 1], [0, 1, 2]):
        yield from cases("Transpose", x, perm=order)
    yield from cases("Transpose", x)
    for axis in (0, 1, -1):
        yield from cases("Concat", x, x + 1, axis=axis, flowing=(0, 1), opsets=(11, 13))
    yield from cases("Concat", whole(1, 2), whole(3), axis=0, flowing=())
    yield from cases("Expand", real(3, 1), whole(2, 1, 4))
    yield from cases("Expand", real(3, 1), whole(1, 1))
    yield from cases("Tile", real(2, 3), whole(2, 1))
    yield from cases("Tile", real(2, 3), whole(1, 3))
    blocks = real(2, 8, 3, 4)
    yield from cases("DepthToSpace", blocks, opsets=(9, 11, 13), blocksize=2)
    yield from cases("DepthToSpace", blocks, opsets=(11, 13), blocksize=2, mode="CRD")
    yield from cases("SpaceToDepth", real(2, 3, 4, 6), blocksize=2)


def pieces() -> Iterator[OperatorCase]:
    x = real(2, 6, 4)
    yield from cases("Split", x, opsets=(9, 11), outputs=2, axis=1, split=[2, 4])
    yield from cases("Split", x, opsets=(9, 13), outputs=3, axis=1)
    yield from cases("Split", x, whole(1, 5), opsets=(13, 18), outputs=2, axis=-2)
    yield from cases("Split", real(2, 7), opsets=(18,), outputs=4, axis=1, num_outputs=4)
    yield from cases("Split", whole(1, 2, 3), whole(1, 2), opsets=(13,), outputs=2, axis=0)
    yield from cases("Slice", x, opsets=(9,), starts=[1, 0], ends=[4, 2], axes=[1, 2])
    yield from cases("Slice", x, opsets=(9,), starts=[0, 1], ends=[2, 1000])
    for starts, ends, axes, steps in (
        ([1], [4], [1], [1]), ([0], [6], [1], [2]), ([-1], [-7], [1], [-1]), ([4], [0], [1], [-2]),
        ([-3], [2**62], [-2], [1]), ([0, 1], [2, 4], [0, 2], [1, 2]), ([5], [-(2**62)], [1], [-1]),
        ([2], [2], [1], [1]), ([-100], [3], [1], [1]),
    ):  # fmt: skip
        numbers = (whole(*starts), whole(*ends), whole(*axes), whole(*steps))
        yield from cases("Slice", x, *numbers, opsets=(10, 13))
    yield from cases("Slice", x, whole(0, 2), whole(1, 5), opsets=(10, 13))
    one, backwards = whole(7, 8, 9), (whole(-1), whole(-9), whole(0), whole(-1))
    yield from cases("Slice", one, whole(1), whole(3), opsets=(13,))
    yield from cases("Slice", one, *backwards, opsets=(13,))
    image = real(1, 2, 4, 5)
    pads = [0, 0, 1, 2, 0, 0, 3, 0]
    for mode in ("constant", "reflect", "edge"):
        yield from cases("Pad", image, opsets=(9,), pads=pads, mode=mode)
        yield from cases("Pad", image, whole(*pads), opsets=(11, 13, 18), mode=mode)
    yield from cases("Pad", image, whole(*pads), scalar(1.5), opsets=(11, 18))
    yield from cases("Pad", image, whole(1, 0, 0, 1), None, whole(3, 1), opsets=(18,))
    yield from cases("Pad", image, whole(0, 0, -1, 0, 0, 0, 0, -2), opsets=(13,))
    yield from cases("Pad", image, whole(0, 1, 0, 0, 0, 1, 0, 0), opsets=(13,))
    yield from cases("Pad", image, whole(*pads), opsets=(19,), mode="wrap")
    volume, middle = real(1, 2, 3, 4, 3), whole(0, 1, 0, 2, 0, 0, 0, 0, 1, 0)
    for mode in ("reflect", "edge"):
        yield from cases("Pad", volume, middle, opsets=(13,), mode=mode)
    yield from cases("Pad", real(3, 4), whole(0, 1, 0, 2), opsets=(13,), mode="reflect")
    yield from cases("CenterCropPad", real(6, 5, 3), whole(4, 8, 3), opsets=(18,))
    yield from cases("CenterCropPad", real(6, 5, 3), whole(9), opsets=(18,), axes=[1])
    for upper in (0, 1):
        yield from cases("Trilu", real(2, 4, 4), opsets=(14,), upper=upper)
        yield from cases("Trilu", real(2, 4, 4), np.array(-1), opsets=(14,), upper=upper)
    sequences = real(4, 3, 2)
    yield from cases("ReverseSequence", sequences, whole(1, 4, 2), opsets=(10,))
    yield from cases(
        "ReverseSequence", real(3, 4), whole(1, 4, 2), opsets=(10,), batch_axis=0, time_axis=1
    )


def indexing() -> Iterator[OperatorCase]:
    x = real(3, 4, 5)
    for axis in (0, 1, -1):
        for places in (np.array(1), np.array(-1), whole(0, 2), np.array([[0, 1], [2, -1]])):
            opsets = (9, 13) if places.min() >= 0 else (11, 13)
            yield from cases("Gather", x, places, opsets=opsets, axis=axis % 3)
            yield from cases("Gather", x, places, opsets=(13,), axis=axis, flowing=(0, 1))
    yield from cases("Gather", real(10, 4), whole([1, 2], [3, 9]), opsets=(13,), flowing=(1,))
    yield from cases("Gather", whole(5, 6, 7), np.array(1), opsets=(13,))
    yield from cases("GatherElements", x, whole([[0, -1, 2, 1, 0]]), opsets=(11, 13), axis=1)
    yield from cases(
        "GatherElements", real(3, 4), whole([0, 1], [-1, 2]), opsets=(13,), axis=0, flowing=(0, 1)
    )
    yield from cases("GatherND", x, whole([0, 1], [2, 3]), opsets=(11, 13))
    yield from cases("GatherND", x, whole([[0, 1, 4]], [[2, 3, 0]]), opsets=(12,))
    data, places, new = real(3, 5), whole([1, 3], [0, -1]), real(2, 2)
    yield from cases("Scatter", data, np.abs(places), new, opsets=(9,), axis=1)
    yield from cases("ScatterElements", data, places, new, opsets=(11, 13), axis=1)
    for how in ("add", "mul", "max", "min"):
        yield from cases("ScatterElements", data, places, new, opsets=(18,), axis=1, reduction=how)
    spots = whole([0, 1], [2, 3])
    yield from cases("ScatterND", x, spots, real(2, 5), opsets=(11, 13))
    yield from cases("ScatterND", x, spots, real(2, 5), opsets=(16,), reduction="add")
    values = floats([0.5, 3])
    for axis in (-1, 0, 1):
        yield from cases("OneHot", whole(1, -1, 7), np.array(4), values, opsets=(9, 11), axis=axis)
    keep = np.array([True, False, True])
    yield from cases("Compress", real(3, 2), keep, opsets=(9, 11), axis=0)
    yield from cases("Compress", real(3, 2), keep, opsets=(11,))
    encoding = real(1, 4, 4, 2, low=-1.2, high=1.2)
    for mode in ("bilinear", "nearest"):
        for padding in ("zeros", "border", "reflection"):
            for corners in (0, 1):
                yield from cases(
                    "GridSample", real(1, 2, 5, 6), encoding, opsets=(16,), mode=mode,
                    padding_mode=padding, align_corners=corners,
                )  # fmt: skip
    for aligned in (0, 1):
        for sizes, axes in (([2, 1, 3, 4], 2), ([2, 1, 3, 4, 5], 3)):
            yield from cases(
                "AffineGrid", real(2, axes, axes + 1), np.array(sizes), opsets=(20,),
                align_corners=aligned,
            )  # fmt: skip
    yield from cases("GridSample", real(1, 2, 5, 6), encoding, opsets=(20,), mode="linear")


def creation() -> Iterator[OperatorCase]:
    yield from cases("ConstantOfShape", whole(2, 3), flowing=())
    value = helper.make_tensor("v", TensorProto.INT64, [1], [5])
    yield from cases("ConstantOfShape", whole(3), flowing=(), value=value)
    for start, end, step in ((0, 7, 2), (5, 0, -1), (2, 2, 1)):
        numbers = [np.array(n) for n in (start, end, step)]
        yield from cases("Range", *numbers, opsets=(11,), flowing=())
    yield from cases("Range", *[scalar(n) for n in (0, 1, 0.3)], opsets=(11,), flowing=())
    yield from cases("EyeLike", real(3, 4), k=1)
    yield from cases("EyeLike", real(3, 4), dtype=TensorProto.INT64)
    yield from cases("NonZero", whole(0, 3, 0, 4), opsets=(9, 13), flowing=())
    window, signal = real(8, low=0.1, high=1.0), real(2, 20, 1)
    places = (np.array(4), window, np.array(8))
    yield from cases("STFT", signal, *places, opsets=(17,))
    yield from cases("STFT", signal, np.array(6), None, np.array(7), opsets=(17,), onesided=0)
    yield from cases("DFT", real(2, 6, 1), opsets=(17,), onesided=1)
    yield from cases("DFT", real(2, 6, 2), np.array(8), opsets=(17,), axis=1)
    yield from cases("DFT", real(2, 3, 6, 2), None, np.array(1), opsets=(20,), inverse=1)
