"""One form for global average pools.

torch's exporter writes ReduceMean; runtimes have no integer kernel for ReduceMean.
"""

from onnx import NodeProto, helper

from model_io.onnx_export.graph_edits import GraphEdits


def spell_global_pools(wiring: GraphEdits) -> dict[str, str]:
    """Replace means over the axes behind the channels by GlobalAveragePool, in place.

    Returns the output of the pool for every value that now leaves a Squeeze behind the pool.
    """
    moved: dict[str, str] = {}
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*wiring.graph.value_info, *wiring.graph.input)
    }
    for node in list(wiring.nodes):
        rank = ranks.get(node.input[0], 0) if node.op_type == "ReduceMean" else 0
        if rank > 2 and _mean_axes(node, wiring, rank) == set(range(2, rank)):
            _spell_global_pool(node, wiring, moved)
    return moved


def _mean_axes(node: NodeProto, wiring: GraphEdits, rank: int) -> set[int]:
    """Return the axes of a mean; an empty set for computed axes."""
    if len(node.input) < 2 or node.input[1] not in wiring.constants:
        return set()
    return {int(axis) % rank for axis in wiring.constant_array(node.input[1]).ravel()}


def _spell_global_pool(node: NodeProto, wiring: GraphEdits, moved: dict[str, str]) -> None:
    kept = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
    axes, result = node.input[1], node.output[0]
    wiring.remove_reader(node, axes)
    node.op_type = "GlobalAveragePool"
    del node.input[1:], node.attribute[:]
    if not kept:
        node.output[0] = moved[result] = f"{result} pooled"
        wiring.insert_node_after(
            node, helper.make_node("Squeeze", [node.output[0], axes], [result])
        )
