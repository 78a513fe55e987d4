"""Rewrite a parsed file into one of a single kind: tensors inside, reals in float32."""

from collections.abc import Iterator

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, TypeProto, numpy_helper

from model_io.onnx_import.tensors import TensorReader

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every tensor of a graph, those of attributes included."""
    for inner in graphs(graph):
        yield from inner.initializer
        for node in inner.node:
            yield from (a.t for a in node.attribute if a.HasField("t"))


def take_in(model: ModelProto, reader: TensorReader) -> None:
    """Check every tensor, and bring in those that lie beside the file.

    Raises:
        ModelError: a tensor that does not hold what its shape says.
        UnsafeFileError: one outside the folder, or too many bytes.
    """
    for tensor in tensors(model.graph):
        if tensor.data_type == TensorProto.STRING:
            continue  # refused only where an operator of the network reads it
        reader.check(tensor, tensor.name)


def widen(model: ModelProto) -> bool:
    """Turn half precision into float32 throughout; return whether there was any."""
    found = False
    for tensor in tensors(model.graph):
        if tensor.data_type in _HALVES:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
            found = True
    for graph in graphs(model.graph):
        for node in graph.node:
            for attribute in node.attribute:
                found |= _widen_attribute(attribute)
        for value in (*graph.input, *graph.output, *graph.value_info):
            found |= _widen_type(value.type)
    return found


def _widen_attribute(attribute: AttributeProto) -> bool:
    if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALVES:
        attribute.i = TensorProto.FLOAT
        return True
    return False


def _widen_type(kind: TypeProto) -> bool:
    if kind.tensor_type.elem_type in _HALVES:
        kind.tensor_type.elem_type = TensorProto.FLOAT
        return True
    return False
