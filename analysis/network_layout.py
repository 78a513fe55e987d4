"""The network as layers with sources, placed for a drawing."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx

from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer
from quant.graph.operators import operator_name, value_inputs

SIZE = "aten.sym_size.int"
"""The operator that gives the size of a tensor, such as the number of images of a batch."""


@dataclass(frozen=True, slots=True)
class LayerPlace:
    """The place of a layer in a drawing of the network, and the source layers.

    `depth` is the longest way from the input in layers. `lane` is 0 on the longest way through the
    network; parallel layers have lanes -1, 1, -2, ...
    """

    layer: str
    kind: str
    depth: int
    lane: int
    sources: tuple[str, ...]


def layer_places(graph: FloatGraph) -> tuple[LayerPlace, ...]:
    """Return the place of every layer, in the order of execution."""
    owner = _layer_by_node(graph)
    feeds = {layer.name: _source_layers(graph, layer, owner) for layer in graph.layers}
    return place_nodes(feeds, {layer.name: str(layer.kind) for layer in graph.layers})


def place_nodes(
    feeds: Mapping[str, tuple[str, ...]], kinds: Mapping[str, str]
) -> tuple[LayerPlace, ...]:
    """Return the place of every node; `feeds` maps a node to its sources, sources first."""
    depths: dict[str, int] = {}
    for name, sources in feeds.items():
        depths[name] = 1 + max((depths[source] for source in sources), default=-1)
    lanes = _lanes_by_layer(depths, _heights_by_layer(feeds))
    return tuple(
        LayerPlace(name, kinds[name], depths[name], lanes[name], sources)
        for name, sources in feeds.items()
    )


def _source_layers(graph: FloatGraph, layer: Layer, owner: Mapping[str, str]) -> tuple[str, ...]:
    """Return the layers with values that reach `layer` through moves alone, without repetition.

    A reshape that asks a tensor for its size moves no value of that tensor.
    """
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [graph.node_named(name) for name in reversed(layer.inputs)]
    while waiting:
        node = waiting.pop()
        if node.name in seen or operator_name(node) == SIZE:
            continue
        seen.add(node.name)
        if node.name in owner:
            found[owner[node.name]] = None
        else:
            waiting.extend(reversed(value_inputs(node)))
    return tuple(name for name in found if name != layer.name)


def _layer_by_node(graph: FloatGraph) -> dict[str, str]:
    """Return the layer of every computing node: the layer's operation and the fused nodes."""
    owner: dict[str, str] = {}
    for layer in graph.layers:
        owner[layer.node] = layer.name
        node: fx.Node = graph.node_named(layer.output)
        while node.name != layer.node:
            owner[node.name] = layer.name
            node = node.all_input_nodes[0]
    return owner


def _heights_by_layer(feeds: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Return the longest way from every layer to an end, in layers."""
    heights = dict.fromkeys(feeds, 0)
    for name in reversed(list(feeds)):
        for source in feeds[name]:
            heights[source] = max(heights[source], heights[name] + 1)
    return heights


def _lanes_by_layer(depths: Mapping[str, int], heights: Mapping[str, int]) -> dict[str, int]:
    """Return a lane for every layer: 0 after the longest way from the input, then -1, 1, -2, ..."""
    by_depth: dict[int, list[str]] = {}
    for name, depth in depths.items():
        by_depth.setdefault(depth, []).append(name)
    lanes = {}
    for names in by_depth.values():
        for order, name in enumerate(sorted(names, key=lambda n: -heights[n])):
            lanes[name] = (order + 1) // 2 * (-1 if order % 2 else 1)
    return lanes
