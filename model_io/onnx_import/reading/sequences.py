"""Sequences of tensors, as exporters write the parts of a split: each part is read by itself."""

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from model_io.onnx_import.reading.integer_clips import stored_tensors
from model_io.onnx_import.reading.tensors import array_of_tensor

Array = NDArray[np.int64]
_END = np.iinfo(np.int64).max


def take_out_sequences(graph: GraphProto) -> None:
    """Replace the reading of one part by a slice, and the joining of parts by a concatenation.

    Sequences with a size or a place that is computed stay, and are refused by name later.
    """
    makers = {name: node for node in graph.node for name in node.output}
    held = stored_tensors(graph)
    for node in graph.node:
        source = makers.get(node.input[0]) if node.input else None
        if source is None:
            continue
        if (node.op_type, source.op_type) == ("SequenceAt", "SplitToSequence"):
            _read_part(graph, node, source, held)
        elif (node.op_type, source.op_type) == ("SequenceAt", "SequenceConstruct"):
            place = _stored_place(held, node)
            if place is not None and -len(source.input) <= place < len(source.input):
                _rewrite_node(node, "Identity", [source.input[place]])
        elif (node.op_type, source.op_type) == ("ConcatFromSequence", "SequenceConstruct"):
            attributes = _attributes_of(node)
            if not attributes.get("new_axis"):
                _rewrite_node(node, "Concat", list(source.input), axis=attributes.get("axis", 0))


def _read_part(
    graph: GraphProto, node: NodeProto, split: NodeProto, held: dict[str, TensorProto]
) -> None:
    """Turn a node that reads a part of a split into a slice or the picking of one place."""
    attributes = _attributes_of(split)
    axis, data = attributes.get("axis", 0), split.input[0]
    place, named = _stored_place(held, node), [*split.input[1:], ""][0]
    sizes = _stored_integers(held, named) if named else np.array(1, np.int64)
    if place is None or sizes is None:
        return
    if not named and not attributes.get("keepdims", 1):
        _rewrite_node(node, "Gather", [data, node.input[1]], axis=axis)
        return
    bounds = _bounds_of_part(sizes, place)
    if bounds is None:
        return
    inputs = [data]
    for word, value in zip(("start", "end", "axis"), (*bounds, axis), strict=True):
        inputs.append(f"{node.output[0]} {word}")
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), inputs[-1]))
    _rewrite_node(node, "Slice", inputs)


def _bounds_of_part(sizes: Array, place: int) -> tuple[int, int] | None:
    """Return the first index of a part and the index behind; None without such a part.

    One size is the size of every part: from the end, only single indices are known.
    """
    if sizes.ndim:
        if not -sizes.size <= place < sizes.size:
            return None
        ends = np.cumsum(sizes).tolist()
        return [0, *ends][place % sizes.size], ends[place]
    size = int(sizes)
    if place < 0 and size != 1:
        return None
    return place * size, (place + 1) * size or _END


def _stored_place(held: dict[str, TensorProto], node: NodeProto) -> int | None:
    """Return the stored place at which a node reads a sequence; None for a computed one."""
    found = _stored_integers(held, [*node.input, ""][1])
    return None if found is None or found.size != 1 else int(found.item())


def _stored_integers(held: dict[str, TensorProto], name: str) -> Array | None:
    """Return stored integers of any shape; None for another value."""
    if name not in held:
        return None
    values = array_of_tensor(held[name])
    return values.astype(np.int64) if np.issubdtype(values.dtype, np.integer) else None


def _attributes_of(node: NodeProto) -> dict[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute}


def _rewrite_node(
    node: NodeProto, operator: str, inputs: list[str], axis: int | None = None
) -> None:
    """Let a node be another operator with the same output."""
    made = helper.make_node(operator, inputs, list(node.output), node.name)
    if axis is not None:
        made.attribute.append(helper.make_attribute("axis", axis))
    node.CopyFrom(made)
