"""Operations that torch's exporter to ONNX lacks, in operations that it has."""

import torch
from torch import fx

from quant.graph import operators as ops
from quant.graph.layers import shape_of_node
from quant.graph.operators import operator_name
from quant.graph.spelling.edits import schema_arguments

aten = torch.ops.aten
_SORTS = (aten.sort.default, aten.sort.stable)


def spell_for_exporter(module: fx.GraphModule) -> None:
    """Rewrite operations in place; names of nodes and values stay."""
    for node in list(module.graph.nodes):
        if node.target in _SORTS and node.users:
            _write_sort(node)
        elif operator_name(node) in ops.ATTENTIONS and len(shape_of_node(node)) == 3:
            _write_attention_of_one_head(module, node)


def _write_sort(node: fx.Node) -> None:
    """Write a sort as topk of all values; both keep the order of equal values."""
    found, results = schema_arguments(node), [*map(shape_of_node, node.users)]
    source, axis, largest = found["self"], found["dim"], found["descending"]
    node.target, node.kwargs = aten.topk.default, {}
    node.args = (source, results[0][axis], axis, largest, True)


def _write_attention_of_one_head(module: fx.GraphModule, node: fx.Node) -> None:
    """Give attention of queries (N, T, E) an axis for heads, which the exporter needs."""
    found = schema_arguments(node)
    mask = found["attn_mask"]
    with module.graph.inserting_before(node):
        operands = [
            module.graph.call_function(aten.unsqueeze.default, (found[name], 1))
            for name in ("query", "key", "value")
        ]
        if isinstance(mask, fx.Node) and len(shape_of_node(mask)) == 3:
            mask = module.graph.call_function(aten.unsqueeze.default, (mask, 1))
    node.args = (*operands, mask, found["dropout_p"], found["is_causal"])
    node.kwargs = {"scale": found["scale"]}
    with module.graph.inserting_after(node):
        joined = module.graph.call_function(aten.squeeze.dim, (node, 1))
    node.replace_all_uses_with(joined, delete_user_cb=lambda user: user is not joined)
