"""Facts about nodes: typed, copied with a graph, and independent of torch's own entries."""

from dataclasses import FrozenInstanceError

import pytest
from torch import fx, nn

from quant.graph.capture import capture_graph
from quant.graph.node_facts import (
    NodeFacts,
    facts_of_node,
    mark_activation,
    shape_from_facts,
    write_node_facts,
)


def test_a_new_node_has_default_facts() -> None:
    node = fx.Graph().placeholder("x")
    assert facts_of_node(node) == NodeFacts()
    assert shape_from_facts(node) == ()


def test_facts_replace_facts_and_leave_other_entries() -> None:
    node = fx.Graph().placeholder("x")
    node.meta["val"] = 3
    write_node_facts(node, NodeFacts(shape=(1, 4), real=True))
    mark_activation(node, activation=True)
    assert facts_of_node(node) == NodeFacts(shape=(1, 4), real=True, activation=True)
    assert node.meta["val"] == 3


def test_facts_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        NodeFacts().path = "layer"  # type: ignore[misc]


def test_a_copied_graph_keeps_facts_apart() -> None:
    graph = capture_graph(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), (4,))
    copied = graph.copy_graph()
    mark_activation(copied.first_output_node, activation=False)
    assert facts_of_node(graph.first_output_node).activation
    assert (
        shape_from_facts(graph.first_output_node)
        == shape_from_facts(copied.first_output_node)
        == (1, 2)
    )
