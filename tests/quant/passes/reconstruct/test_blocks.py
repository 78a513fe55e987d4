"""Blocks of a graph: cuts against a search over all paths, and runs against the whole network."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, fx, nn

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.inputs import first_output_of
from quant.passes.reconstruct.blocks import find_blocks, find_cut_layers, learns, plain_run
from tests.networks import CASES, Wired, graph_of


def reaches_output_without(graph: FloatGraph, removed: fx.Node) -> bool:
    """Tell whether a layer with a weight still reaches the output around a node."""
    weighted = {layer.node for layer in graph.layers if layer.weight is not None}
    seen: set[fx.Node] = set()
    place = {node: number for number, node in enumerate(graph.module.graph.nodes)}
    stack = [
        node
        for node in graph.module.graph.nodes
        if node.name in weighted and place[node] < place[removed]
    ]
    while stack:
        node = stack.pop()
        if node is removed or node in seen:
            continue
        if node.op == "output":
            return True
        seen.add(node)
        stack.extend(node.users)
    return False


SMALL = [name for name in CASES if "mobilenet" not in name and "efficientnet" not in name]


@pytest.mark.parametrize("name", SMALL)
def test_cuts_are_the_values_that_every_path_passes(name: str) -> None:
    graph = graph_of(name)
    cuts = set(find_cut_layers(graph))
    behind = False
    for layer in graph.layers:
        node = graph.node_named(layer.output)
        behind = behind or layer.weight is not None
        if behind and layer.name in cuts:
            assert not reaches_output_without(graph, node)


@pytest.mark.parametrize("name", list(CASES))
def test_each_layer_that_learns_is_in_one_block(name: str) -> None:
    graph = graph_of(name)
    blocks = find_blocks(graph)
    inside = [layer for block in blocks for layer in block.layers]
    assert inside == [layer.name for layer in graph.layers if learns(layer)]
    assert blocks[-1].end == ""
    assert all(a.end == b.start for a, b in pairwise(blocks))


@pytest.mark.parametrize("name", list(CASES))
def test_blocks_one_after_the_other_are_the_network(name: str) -> None:
    graph = graph_of(name)
    images = CASES[name].inputs(graph.batch or 2)
    value: Tensor | None = None
    for block in find_blocks(graph, 1):
        (value,) = plain_run(graph, block)(value, (images,))[:1]
    assert value is not None
    torch.testing.assert_close(value, first_output_of(graph.run(images)), rtol=0, atol=1e-5)


def residual() -> nn.Module:
    """Return stem, a residual branch of two layers, and a head."""
    parts = {name: nn.Linear(4, 4) for name in ("stem", "one", "two", "head")}

    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.stem(x)
        x = x + m.two(m.one(x).relu())
        return m.head(x)

    return Wired(wire, **parts)


def test_a_residual_branch_is_never_divided() -> None:
    graph = capture_graph(residual().eval(), (4,))
    blocks = find_blocks(graph, 1)
    assert [block.layers for block in blocks] == [("stem",), ("one", "two"), ("head",)]
    assert [block.layers for block in find_blocks(graph, 3)] == [("stem", "one", "two"), ("head",)]
