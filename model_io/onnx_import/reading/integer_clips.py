"""Clips of integers before a DequantizeLinear: how tools write fewer bits than the type has.

Brevitas writes QuantizeLinear or stored integers, Clip to -7 and 7, DequantizeLinear. Older
operator sets clip by Max and Min, or as int32 between two casts.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from model_io.onnx_import.reading.tensors import array_of_tensor

Array = NDArray[np.generic]
Limits = tuple[int, int]
NO_CLIP: Limits = (-(1 << 31), (1 << 31) - 1)
_WHOLE = frozenset({
    TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32,
    TensorProto.INT64,
})  # fmt: skip


def stored_tensors(graph: GraphProto) -> dict[str, TensorProto]:
    """Return initializers and Constant nodes by name."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.HasField("t"):
                held[node.output[0]] = attribute.t
    return held


def take_out_integer_clips(graph: GraphProto) -> dict[str, Limits]:
    """Remove clips of integers before dequantizers and return the limits.

    The limits have the names of the values before and behind each clip. Stored integers are
    clipped here.
    """
    makers = {name: node for node in graph.node for name in node.output}
    held = stored_tensors(graph)
    found: dict[str, Limits] = {}
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        source = node.input[0]
        chain = list(_clips_before(source, makers, held))
        first = chain[-1].input[0] if chain else source
        if not chain or not (first in held or _makes(makers, first, "QuantizeLinear")):
            continue
        limits = [_limits_of(clip, held) for clip in chain]
        low, high = max(low for low, _ in limits), min(high for _, high in limits)
        if first in held:
            node.input[0] = first = _clip_stored(graph, held, chain, (low, high))
        for value in (first, *(clip.output[0] for clip in chain)):
            found[value] = low, high
        for clip in chain if first not in held else ():
            del clip.input[1:]
            del clip.attribute[:]
            clip.op_type = "Identity"
    return found


def _makes(makers: dict[str, NodeProto], value: str, operator: str) -> bool:
    return value in makers and makers[value].op_type == operator


def _clips_before(
    value: str, makers: dict[str, NodeProto], held: dict[str, TensorProto]
) -> Iterator[NodeProto]:
    """Yield the clips and casts of integers that end in a value, the last first."""
    while value in makers and _limits_are_stored(makers[value], held):
        yield makers[value]
        value = makers[value].input[0]


def _limits_are_stored(node: NodeProto, held: dict[str, TensorProto]) -> bool:
    """Tell whether a node clips by stored limits, or casts to integers."""
    if node.op_type == "Cast":
        return any(a.name == "to" and a.i in _WHOLE for a in node.attribute)
    limits = [held.get(name) for name in node.input[1:] if name]
    known = node.op_type == "Clip" or (node.op_type in ("Max", "Min") and len(limits) == 1)
    return known and all(one is not None and _is_one_integer(one) for one in limits)


def _is_one_integer(tensor: TensorProto) -> bool:
    return tensor.data_type in _WHOLE and math.prod(tensor.dims) == 1


def _limits_of(node: NodeProto, held: dict[str, TensorProto]) -> Limits:
    """Return the limits of a clip of integers; those of no clip for a cast."""
    if node.op_type == "Cast":
        return NO_CLIP
    values = [int(array_of_tensor(held[name]).item()) if name else None for name in node.input[1:]]
    if node.op_type == "Min":
        values = [None, *values]
    low, high = [*values, None, None][:2]
    return NO_CLIP[0] if low is None else low, NO_CLIP[1] if high is None else high


def _clip_stored(
    graph: GraphProto, held: dict[str, TensorProto], chain: list[NodeProto], limits: Limits
) -> str:
    """Return the name of stored integers after a chain of clips and casts."""
    name = str(chain[-1].input[0])
    values = array_of_tensor(held[name])
    kinds = [a.i for node in chain for a in node.attribute if a.name == "to"]
    kind = helper.tensor_dtype_to_np_dtype(kinds[0]) if kinds else values.dtype
    clipped: Array = values.astype(np.int64).clip(*limits).astype(kind)
    if kind == values.dtype and np.array_equal(clipped, values):
        return name
    new = f"{name} clipped"
    held[new] = numpy_helper.from_array(clipped, new)
    graph.initializer.append(held[new])
    return new
