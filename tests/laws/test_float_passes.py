"""What holds for every pass that keeps the float function, on every network."""

from collections.abc import Callable

import pytest
import torch

from quant.graph.float_graph import FloatGraph
from quant.passes.equalize import Equalize
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.passes.methods import Reach
from tests.networks import CASES, DISTINCT, graph_of
from tests.shared_answers import content


def equalize(graph: FloatGraph) -> FloatGraph:
    """Return the graph folded, then equalized."""
    return Equalize()(FoldBatchNorm()(graph)).graph


def equalize_by_rms(graph: FloatGraph) -> FloatGraph:
    """Return the graph folded, then equalized by root mean squares."""
    return Equalize(reach=Reach.RMS)(FoldBatchNorm()(graph)).graph


PASSES: dict[str, Callable[[FloatGraph], FloatGraph]] = {
    "fold-batch-norm": FoldBatchNorm(),
    "equalize": equalize,
    "equalize-by-rms": equalize_by_rms,
}
EVERY = [(name, case) for name in PASSES for case in DISTINCT]
# what comes to rest only to within a tolerance is not among these
IDEMPOTENT = [(name, case) for name, case in EVERY if name == "fold-batch-norm"]


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_the_float_function_stays_to_one_part_in_ten_thousand(name: str, case: str) -> None:
    graph, inputs = graph_of(case), CASES[case].inputs(4)
    wanted, got = graph(inputs), PASSES[name](graph)(inputs)
    assert float((got - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_the_graph_that_goes_in_stays_as_it_was(name: str, case: str) -> None:
    graph = graph_of(case)
    before = content(graph)
    result = PASSES[name](graph)
    with torch.no_grad():
        for parameter in result.module.parameters():
            parameter.add_(1)
    assert content(graph) == before


@pytest.mark.parametrize(("name", "case"), IDEMPOTENT)
def test_a_second_time_changes_nothing(name: str, case: str) -> None:
    once = PASSES[name](graph_of(case))
    twice = PASSES[name](once)
    assert content(twice) == content(once)
    assert twice.layers == once.layers
    assert twice.normals.keys() == once.normals.keys()


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_shapes_names_and_batch_stay_known(name: str, case: str) -> None:
    graph = graph_of(case)
    result = PASSES[name](graph)
    assert (result.input_shape, result.batch) == (graph.input_shape, graph.batch)
    assert result.output_shape == graph.output_shape
    names = [layer.name for layer in graph.layers]
    assert [layer.name for layer in result.layers if layer.weight] == [
        layer.name for layer in graph.layers if layer.weight
    ]
    assert {layer.name for layer in result.layers} <= set(names)


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_no_tensor_is_left_that_the_graph_does_not_use(name: str, case: str) -> None:
    module = PASSES[name](graph_of(case)).module
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    assert set(module.state_dict()) == used
