"""Rewrite a parsed file to one form: tensors inside the file, real numbers in float32."""

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

from model_io.onnx_import.reading.subgraphs import graphs_inside_node, values_read_outside
from model_io.onnx_import.reading.tensors import TensorReader

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def nested_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and the graphs inside the nodes."""
    yield graph
    for node in graph.node:
        for inner in graphs_inside_node(node):
            yield from nested_graphs(inner)


def tensors_of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield the tensors of a graph, including tensors in attributes."""
    for inner in nested_graphs(graph):
        yield from inner.initializer
        for node in inner.node:
            yield from (a.t for a in node.attribute if a.HasField("t"))


def take_in_tensors(model: ModelProto, reader: TensorReader) -> None:
    """Check the tensors, and read tensors in files beside the model.

    Raises:
        ModelError: the bytes of a tensor do not fit the shape.
        UnsafeFileError: a tensor outside the folder, or too many bytes.
    """
    for tensor in tensors_of_graph(model.graph):
        if tensor.data_type == TensorProto.STRING:
            continue  # refused only where an operator of the network reads it
        reader.check_tensor(tensor, tensor.name)


def prune_unused_nodes(graph: GraphProto) -> None:
    """Remove nodes and tensors without influence on the outputs, to save time and memory."""
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
        inner = (
            name for branch in graphs_inside_node(node) for name in values_read_outside(branch)
        )
        new = {*node.input, *inner} - needed
        needed |= new
        waiting.extend(new)
    _keep_wanted_items(graph.node, alive)
    _keep_wanted_items(graph.initializer, [tensor.name in needed for tensor in graph.initializer])


def _keep_wanted_items(items: Any, wanted: list[bool]) -> None:
    """Keep only the wanted items of a repeated field."""
    if not all(wanted):
        kept = [
            type(item).FromString(item.SerializeToString())
            for item, keep in zip(items, wanted, strict=True)
            if keep
        ]
        del items[:]
        items.extend(kept)


def widen_half_precision(model: ModelProto) -> bool:
    """Turn half precision into float32; return whether the model had half precision."""
    found = False
    for tensor in tensors_of_graph(model.graph):
        if tensor.data_type in _HALVES:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
            found = True
    for graph in nested_graphs(model.graph):
        for node in graph.node:
            for attribute in node.attribute:
                found |= _widen_attribute(attribute)
        for value in (*graph.input, *graph.output, *graph.value_info):
            found |= _widen_value_type(value.type)
    return found


def _widen_attribute(attribute: AttributeProto) -> bool:
    if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALVES:
        attribute.i = TensorProto.FLOAT
        return True
    return False


def _widen_value_type(kind: TypeProto) -> bool:
    if kind.tensor_type.elem_type in _HALVES:
        kind.tensor_type.elem_type = TensorProto.FLOAT
        return True
    return False
