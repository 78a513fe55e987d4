"""Readable names: nodes and tensors of a file get the names of layers."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from onnx import GraphProto, NodeProto

from quant.graph.float_graph import FloatGraph
from quant.graph.layers import INPUT_LAYER

Held = tuple[str, tuple[int, ...]]


@dataclass(eq=False)
class Places:
    """The places of layers in a graph, by the present value names.

    Attributes:
        outputs: the output value, by layer.
        operations: the first result of the layer's operation, by layer.
        weights: the constant and the axes (`FileTensor.axes`), by layer.
        biases: the constant and the axes, by layer.
    """

    outputs: dict[str, str] = field(default_factory=dict)
    operations: dict[str, str] = field(default_factory=dict)
    weights: dict[str, Held] = field(default_factory=dict)
    biases: dict[str, Held] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Names:
    """The new name of each value, and of each node by the old name of the first result."""

    values: dict[str, str]
    nodes: dict[str, str]


def rename_nodes_and_values(graph: FloatGraph, file: GraphProto, places: Places) -> Names:
    """Rename the nodes and values of `file` in place and return the new names.

    Equal networks get equal names; the names from torch's exporter have no influence.
    """
    owners = _layer_by_node(file, places)
    names = Names({"": ""}, _choose_node_names(file, places, owners))
    taken: set[str] = set()
    for old, wish in _wanted_value_names(graph, file, places, owners, names.nodes):
        if old not in names.values:
            names.values[old] = unique_name(wish, taken)
    _write_names(file, names)
    return names


def unique_name(name: str, taken: set[str]) -> str:
    """Return the name, with a number if the name is taken, and record the name as taken."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _layer_by_node(file: GraphProto, places: Places) -> dict[str, str]:
    """Return the first dependent layer of each node, by the node's first result."""
    makers = {value: node for node in file.node for value in node.output}
    ends = set(places.outputs.values())
    owners: dict[str, str] = {}
    last = [("output", output.name) for output in file.output]
    for layer, value in (*places.outputs.items(), *last):
        waiting = [value]
        while waiting:
            node = makers.get(waiting.pop())
            if node is None or node.output[0] in owners:
                continue
            if value not in node.output and ends & set(node.output):
                continue  # of another layer, whose turn comes
            owners[node.output[0]] = layer
            waiting.extend(node.input)
    return owners


def _choose_node_names(file: GraphProto, places: Places, owners: dict[str, str]) -> dict[str, str]:
    found = {value: layer for layer, value in places.operations.items()}
    taken = set(found.values())
    for node in file.node:
        if node.output[0] not in found:
            owner = owners.get(node.output[0], "output")
            found[node.output[0]] = unique_name(f"{owner}/{node.op_type}", taken)
    return found


def _wanted_value_names(
    graph: FloatGraph,
    file: GraphProto,
    places: Places,
    owners: dict[str, str],
    nodes: dict[str, str],
) -> Iterable[tuple[str, str]]:
    """Yield (old name, wanted name) of the values; the first to want a name gets the name."""
    titles = [one.name for one in graph.inputs] if len(graph.inputs) > 1 else [INPUT_LAYER]
    yield from ((value.name, title) for value, title in zip(file.input, titles, strict=True))
    yield from ((value, layer) for layer, value in places.outputs.items())
    yield from ((value.name, "output") for value in file.output)
    yield from ((held, str(graph[layer].weight)) for layer, (held, _) in places.weights.items())
    yield from (
        (held, _layer_bias_name(graph, layer)) for layer, (held, _) in places.biases.items()
    )
    # the exporter keeps the names of parameters and invents names of other constants
    own = {str(node.target) for node in graph.module.graph.nodes if node.op == "get_attr"}
    yield from ((held.name, held.name) for held in file.initializer if held.name in own)
    for node in file.node:
        name, owner = nodes[node.output[0]], owners.get(node.output[0], "output")
        name = f"{owner}/{node.op_type}" if name == owner else name
        yield from ((value, name) for value in node.output)
        yield from ((value, f"{owner}/constant") for value in node.input)


def _layer_bias_name(graph: FloatGraph, layer: str) -> str:
    return graph[layer].bias or f"{layer}.bias"


def _write_names(file: GraphProto, names: Names) -> None:
    for node in file.node:
        node.name = names.nodes[node.output[0]]
        _replace_value_names(node, names.values)
    for value in (*file.initializer, *file.input, *file.output):
        value.name = names.values[value.name]


def _replace_value_names(node: NodeProto, values: dict[str, str]) -> None:
    for held in (node.input, node.output):
        new = [values[value] for value in held]
        del held[:]
        held.extend(new)
