"""One spelling for an operation that people write in several ways."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from quant.graph.operators import operator

_PRODUCTS = frozenset({"aten.matmul.default", "aten.mm.default"})
_TRANSPOSES = frozenset({"aten.t.default", "aten.transpose.int", "aten.permute.default"})


def spell_linear(graph: fx.Graph, root: dict[str, Any]) -> None:
    """Turn products with a stored matrix, x @ W, x @ W.t() and addmm, into linear layers.

    Only then is the matrix a weight, with output channels and a grid of its own. `root` holds what
    get_attr nodes name; a transposed matrix is added to it.
    """
    for node in list(graph.nodes):
        parts = _parts(node)
        if parts is None:
            continue
        inputs, matrix, bias = parts
        weight = _weight(graph, root, matrix)
        if weight is None or "shape" not in inputs.meta:
            continue
        arguments = (inputs, weight) if bias is None else (inputs, weight, bias)
        node.target = torch.ops.aten.linear.default
        node.args, node.kwargs = arguments, {}
    graph.eliminate_dead_code()


def spell_reshape(graph: fx.Graph) -> None:
    """Turn views into reshapes: values may come channels-last, which a view cannot always take."""
    for node in graph.nodes:
        if operator(node) == "aten.view.default":
            node.target = torch.ops.aten.reshape.default


def spell_embedding(graph: fx.Graph, root: dict[str, Any]) -> None:
    """Turn the picking of rows of a stored matrix by computed places into an embedding.

    Only then has the table a grid, as the weight of a layer.
    """
    for node in graph.nodes:
        table, places = _picked_rows(node)
        if table is None or places is None or table.op != "get_attr":
            continue
        held = root.get(str(table.target))
        if not isinstance(held, Tensor) or held.dim() != 2 or not held.is_floating_point():
            continue
        if "shape" in places.meta and not places.meta["real"] and places.op != "get_attr":
            node.target = torch.ops.aten.embedding.default
            node.args, node.kwargs = (table, places), {}


def _picked_rows(node: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
    """Return (table, places) where the node picks along the first axis of one by the other."""
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
        # a bias of another form is an addition that linear does not do
        if not isinstance(bias, fx.Node) or bias.op != "get_attr":
            return None
        if len(bias.meta.get("shape", ())) != 1:
            return None
    else:
        return None
    if not isinstance(inputs, fx.Node) or not isinstance(matrix, fx.Node):
        return None
    return inputs, matrix, bias


def _weight(graph: fx.Graph, root: dict[str, Any], matrix: fx.Node) -> fx.Node | None:
    """Return a node for the matrix as linear takes it, (O, I); None if it is not stored."""
    source = matrix.all_input_nodes[0] if operator(matrix) in _TRANSPOSES else matrix
    held = root.get(str(source.target)) if source.op == "get_attr" else None
    if not isinstance(held, Tensor) or held.dim() != 2 or not held.is_floating_point():
        return None
    if source is not matrix:
        return source
    target = f"{source.target}_transposed"
    if target not in root:
        root[target] = nn.Parameter(held.detach().t().contiguous(), requires_grad=False)
    with graph.inserting_before(matrix):
        turned = graph.get_attr(target)
    turned.meta = {**matrix.meta, "shape": tuple(root[target].shape)}
    return turned
