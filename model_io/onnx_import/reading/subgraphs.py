"""Graphs inside nodes: the branches of an If, and what they read from around them."""

from onnx import GraphProto, NodeProto


def inner_graphs(node: NodeProto) -> list[GraphProto]:
    """Return the branches of a node."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def outer_reads(graph: GraphProto) -> set[str]:
    """Return the values that a branch reads from the graph around it."""
    own = {t.name for t in graph.initializer} | {v.name for v in graph.input}
    read: set[str] = {o.name for o in graph.output}
    for node in graph.node:
        own.update(node.output)
        read.update(filter(None, node.input))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                read |= outer_reads(attribute.g)
    return read - own
