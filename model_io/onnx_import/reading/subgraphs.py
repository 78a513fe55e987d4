"""Graphs inside nodes: the branches of an If, and the outside values that branches read."""

from onnx import GraphProto, NodeProto


def graphs_inside_node(node: NodeProto) -> list[GraphProto]:
    """Return the branches of a node."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def values_read_outside(graph: GraphProto) -> set[str]:
    """Return the values that a branch reads from the surrounding graph."""
    own = {t.name for t in graph.initializer} | {v.name for v in graph.input}
    read: set[str] = {o.name for o in graph.output}
    for node in graph.node:
        own.update(node.output)
        read.update(filter(None, node.input))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                read |= values_read_outside(attribute.g)
    return read - own
