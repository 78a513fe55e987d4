"""Products with a stored matrix, x @ W, x @ W.t() and addmm, as linear layers."""

from dataclasses import replace
from typing import Any

from torch import fx, nn

from quant.graph.node_facts import facts_of_node, shape_from_facts, write_node_facts
from quant.graph.operators import operator_name
from quant.graph.spelling.edits import Draft, aten

_PRODUCTS = frozenset({"aten.matmul.default", "aten.mm.default"})
_TRANSPOSES = frozenset({"aten.t.default", "aten.transpose.int", "aten.permute.default"})


def spell_linear_layers(draft: Draft) -> None:
    """Turn products with a stored matrix into linear layers.

    Only in a linear layer is the matrix a weight, with output channels and an encoding. A
    transposed matrix is stored beside the matrix of the file.
    """
    for node in list(draft.graph.nodes):
        parts = _product_parts(node)
        if parts is None:
            continue
        inputs, matrix, bias = parts
        weight = _linear_weight_node(draft, matrix)
        if weight is None or facts_of_node(inputs).shape is None:
            continue
        arguments = (inputs, weight) if bias is None else (inputs, weight, bias)
        node.target = aten.linear.default
        node.args, node.kwargs = arguments, {}
    draft.graph.eliminate_dead_code()


def _product_parts(node: fx.Node) -> tuple[fx.Node, fx.Node, fx.Node | None] | None:
    """Return (inputs, matrix, bias) of a product; None for other nodes."""
    bias: Any = None
    if operator_name(node) in _PRODUCTS:
        inputs, matrix = node.args[:2]
    elif operator_name(node) == "aten.addmm.default" and not node.kwargs:
        bias, inputs, matrix = node.args[:3]
        # a bias of another form is an addition that linear does not do
        if not isinstance(bias, fx.Node) or bias.op != "get_attr":
            return None
        if len(shape_from_facts(bias)) != 1:
            return None
    else:
        return None
    if not isinstance(inputs, fx.Node) or not isinstance(matrix, fx.Node):
        return None
    return inputs, matrix, bias


def _linear_weight_node(draft: Draft, matrix: fx.Node) -> fx.Node | None:
    """Return a node for the matrix in the order of linear, (O, I); None without a stored matrix."""
    source = matrix.all_input_nodes[0] if operator_name(matrix) in _TRANSPOSES else matrix
    held = draft.stored_real_tensor(source)
    if held is None or held.dim() != 2:
        return None
    if source is not matrix:
        return source
    target = f"{source.target}_transposed"
    if target not in draft.root:
        turned = held.detach().t().contiguous()
        draft.root[target] = nn.Parameter(turned, requires_grad=False)
    with draft.graph.inserting_before(matrix):
        node = draft.graph.get_attr(target)
    write_node_facts(node, replace(facts_of_node(matrix), shape=tuple(draft.root[target].shape)))
    return node
