"""Graphs inside nodes: the branches of an If, and the outside values that branches read."""

from collections.abc import Container, Mapping

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


def branch_with_free_names(branch: GraphProto, taken: Container[str]) -> GraphProto:
    """Return a branch whose own values have names that nobody else has.

    Two branches may call different values alike; side by side in one graph they must not.
    """
    own = {t.name for t in branch.initializer} | {o for node in branch.node for o in node.output}
    same = {name: _free_name(name, taken) for name in own if name and name in taken}
    if not same:
        return branch
    result = GraphProto()
    result.CopyFrom(branch)
    _rename_values(result, same)
    for tensor in result.initializer:
        tensor.name = same.get(tensor.name, tensor.name)
    return result


def _free_name(name: str, taken: Container[str]) -> str:
    count = 2
    while f"{name} ({count})" in taken:
        count += 1
    return f"{name} ({count})"


def _rename_values(graph: GraphProto, same: Mapping[str, str]) -> None:
    """Rename values of a graph, and in the graphs of its nodes where these read from outside."""
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        node.output[:] = [same.get(name, name) for name in node.output]
        for inner in graphs_inside_node(node):
            outside = {n: same[n] for n in values_read_outside(inner) if n in same}
            _rename_values(inner, outside)
    for output in graph.output:
        output.name = same.get(output.name, output.name)
