"""Give an operation that people write in several ways one spelling."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from quant.graph.node_facts import facts_of, shape_in, write_facts
from quant.graph.operators import operator

_PRODUCTS = frozenset({"aten.matmul.default", "aten.mm.default"})
_TRANSPOSES = frozenset({"aten.t.default", "aten.transpose.int", "aten.permute.default"})


def spell_linear(graph: fx.Graph, root: dict[str, object]) -> None:
    """Turn products with a stored matrix, x @ W, x @ W.t() and addmm, into linear operations.

    A linear operation has output channels, so that the matrix gets an encoding as a weight.

    Args:
        graph: the graph to change in place.
        root: tensors by the target of get_attr nodes; a transposed matrix (O, I) is added.
    """
    for node in list(graph.nodes):
        parts = _parts(node)
        if parts is None:
            continue
        inputs, matrix, bias = parts
        weight = _weight(graph, root, matrix)
        if weight is None or facts_of(inputs).shape is None:
            continue
        arguments = (inputs, weight) if bias is None else (inputs, weight, bias)
        node.target = torch.ops.aten.linear.default
        node.args, node.kwargs = arguments, {}
    graph.eliminate_dead_code()


def spell_reshape(graph: fx.Graph) -> None:
    """Turn views into reshapes: a view fails on channels-last values."""
    for node in graph.nodes:
        if operator(node) == "aten.view.default":
            node.target = torch.ops.aten.reshape.default


def spell_embedding(graph: fx.Graph, root: dict[str, object]) -> None:
    """Turn the selection of rows of a stored matrix by computed positions into an embedding.

    The table (V, D) of an embedding gets an encoding as the weight of a layer.
    """
    for node in graph.nodes:
        table, places = _picked_rows(node)
        if table is None or places is None or table.op != "get_attr":
            continue
        if _stored_matrix(root, table) is None:
            continue
        facts = facts_of(places)
        if facts.shape is not None and not facts.real and places.op != "get_attr":
            node.target = torch.ops.aten.embedding.default
            node.args, node.kwargs = (table, places), {}


def _picked_rows(node: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
    """Return (table, positions) of a selection along the table's first axis; else Nones."""
    places: Any = None
    if operator(node) == "aten.index_select.default" and node.args[1] == 0:
        places = node.args[2]
    elif operator(node) == "aten.index.Tensor":
        picked = node.args[1]
        places = picked[0] if isinstance(picked, list | tuple) and len(picked) == 1 else None
    table = node.args[0] if node.args else None
    if not isinstance(table, fx.Node) or not isinstance(places, fx.Node):
        return None, None
    return table, places


def _parts(node: fx.Node) -> tuple[fx.Node, fx.Node, fx.Node | None] | None:
    """Return (inputs, matrix, bias) of a product; None for any other node."""
    bias: Any = None
    if operator(node) in _PRODUCTS:
        inputs, matrix = node.args[:2]
    elif operator(node) == "aten.addmm.default" and not node.kwargs:
        bias, inputs, matrix = node.args[:3]
        # linear adds only a bias of shape (O,)
        if not isinstance(bias, fx.Node) or bias.op != "get_attr":
            return None
        if len(shape_in(bias)) != 1:
            return None
    else:
        return None
    if not isinstance(inputs, fx.Node) or not isinstance(matrix, fx.Node):
        return None
    return inputs, matrix, bias


def _weight(graph: fx.Graph, root: dict[str, object], matrix: fx.Node) -> fx.Node | None:
    """Return a node with the matrix in linear's shape (O, I); None if not stored."""
    source = matrix.all_input_nodes[0] if operator(matrix) in _TRANSPOSES else matrix
    values = _stored_matrix(root, source) if source.op == "get_attr" else None
    if values is None:
        return None
    if source is not matrix:
        return source
    target = f"{source.target}_transposed"
    if target not in root:
        root[target] = nn.Parameter(values.detach().t().contiguous(), requires_grad=False)
    with graph.inserting_before(matrix):
        transposed = graph.get_attr(target)
    shape = (values.shape[1], values.shape[0])
    write_facts(transposed, replace(facts_of(matrix), shape=shape))
    return transposed


def _stored_matrix(root: Mapping[str, object], node: fx.Node) -> Tensor | None:
    """Return the real matrix (rows, columns) that a get_attr node names; None for others."""
    value = root.get(str(node.target))
    if not isinstance(value, Tensor) or value.dim() != 2 or not value.is_floating_point():
        return None
    return value
