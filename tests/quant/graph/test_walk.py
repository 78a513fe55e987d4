"""A walk gives what each node receives and gives, as torch's own interpreter finds it."""

import pytest
import torch
from torch import Tensor

from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.graph.walk import Walk
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.networks import CASES, SMALL, graph_of
from tests.quant.passes.recorder import recorded


def quantized(name: str) -> tuple[FloatGraph, QuantGraph]:
    graph = FoldBatchNorm()(graph_of(name))
    statistics = drain_steps(Calibrate()(graph, [CASES[name].inputs(6)]))
    return graph, quantize_graph(graph, QuantConfig(), statistics)


@pytest.mark.parametrize("name", [*SMALL, "fashion-resnet"])
def test_every_layers_input_and_output_equal_the_interpreters(name: str) -> None:
    graph, simulated = quantized(name)
    inputs = CASES[name].inputs(5)
    batches = [inputs[:2], inputs[2:3], inputs[3:]]
    for module in (graph.module, simulated.module):
        wanted = [recorded(module, batch) for batch in batches]
        walk = Walk(module, batches)
        for layer in graph.layers[1:]:
            received, peeked = walk.input_of_node(layer.node), walk.peek_at_node(layer.node)
            for recorder, got, value in zip(wanted, received, peeked, strict=True):
                if layer.weight:
                    assert torch.equal(got, recorder.received[layer.node])
                if layer.node in recorder.given:
                    assert torch.equal(value, recorder.given[layer.node])
            given = walk.output_of_node(layer.node)
            for one, other in zip(peeked, given, strict=True):
                assert torch.equal(one, other)


def test_an_unknown_node_and_one_that_has_run_are_key_errors() -> None:
    graph = graph_of("plain")
    inputs = CASES["plain"].inputs(2)
    with pytest.raises(KeyError, match="no node 'nowhere'"):
        Walk(graph.module, [inputs]).input_of_node("nowhere")
    walk = Walk(graph.module, [inputs])
    first = graph.layers[1].node
    walk.output_of_node(first)
    for ask in (walk.input_of_node, walk.peek_at_node, walk.output_of_node):
        with pytest.raises(KeyError, match="still to come"):
            ask(first)


def test_a_change_to_a_node_that_is_to_come_is_seen() -> None:
    graph = FoldBatchNorm()(graph_of("plain"))
    layer = graph["0"]
    walk = Walk(graph.module, [CASES["plain"].inputs(2)])
    (before,) = walk.peek_at_node(layer.node)
    graph.store_bias(layer, graph.bias_of_layer(layer) + 1)
    (after,) = walk.output_of_node(layer.node)
    assert torch.allclose(after, before + 1, atol=1e-6)


def test_only_values_still_needed_are_held() -> None:
    graph = graph_of("fashion-mobilenet")
    walk = Walk(graph.module, [CASES["fashion-mobilenet"].inputs(1)])
    most = 0
    for layer in graph.layers[1:]:
        walk.output_of_node(layer.node)
        held = [value for value in walk._values[0].values() if isinstance(value, Tensor)]
        most = max(most, len(held))
    assert most <= 4  # a skip connection, what just came, and functions fused with it
