"""Nodes that only move values, so that the result keeps the encoding of the input."""

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

_ALWAYS = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherND",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "ReduceMax",
        "Relu",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)


def only_moves_values(node: NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    """Whether a node returns only input values and zeros; a ReLU does so."""
    if node.op_type in _ALWAYS:
        return True
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Resize":
        return bool(attributes.get("mode", b"nearest") == b"nearest")
    if node.op_type != "Pad":
        return False
    fill = node.input[2] if len(node.input) > 2 else ""
    constant = attributes.get("mode", b"constant") == b"constant"
    return (
        not constant
        or not fill
        or (fill in constants and not np.any(numpy_helper.to_array(constants[fill])))
    )
