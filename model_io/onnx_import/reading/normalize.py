"""Rewrite a parsed file into one of a single kind: tensors inside, reals in float32."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    TensorProto,
    TypeProto,
    numpy_helper,
)

from model_io.onnx_import.reading.subgraphs import inner_graphs, outer_reads
from model_io.onnx_import.reading.tensors import TensorReader

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from graphs(inner)


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


def prune(graph: GraphProto) -> None:
    """Drop nodes and tensors that no output needs, so that no one runs or holds them."""
    written = [(name, i) for i, node in enumerate(graph.node) for name in node.output if name]
    writers = dict(written)
    if len(writers) < len(written):
        return  # a value written twice is told later
    waiting = [output.name for output in graph.output]
    needed = set(waiting)
    alive = [False] * len(graph.node)
    while waiting:
        index = writers.get(waiting.pop())
        if index is None or alive[index]:
            continue
        alive[index] = True
        node = graph.node[index]
        inner = (name for branch in inner_graphs(node) for name in outer_reads(branch))
        new = {*node.input, *inner} - needed
        needed |= new
        waiting.extend(new)
    _keep(graph.node, alive)
    _keep(graph.initializer, [tensor.name in needed for tensor in graph.initializer])


def _keep(items: Any, wanted: list[bool]) -> None:
    """Drop the items of a repeated field that are not wanted."""
    if not all(wanted):
        kept = [
            type(item).FromString(item.SerializeToString())
            for item, keep in zip(items, wanted, strict=True)
            if keep
        ]
        del items[:]
        items.extend(kept)


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
