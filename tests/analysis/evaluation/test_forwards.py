"""Batches on several cores: results in order, errors at their place, threads as before."""

from collections.abc import Iterator
from typing import cast

import pytest
import torch
from torch import Tensor

from analysis.evaluation import forwards
from analysis.evaluation.evaluate import evaluate_network
from analysis.evaluation.forwards import compile_both, run_in_order
from analysis.network import Network, Runnable
from quant.config import uniform_config
from quant.engine.simulation import CompiledNetwork
from quant.errors import CaptureError
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.analysis.results import ToyData
from tests.networks import CASES, graph_of


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def network() -> Network:
    return Network("plain", "digest", graph_of("plain"), 0)


def quantized(bits: int = 3) -> QuantGraph:
    graph = graph_of("plain")
    with torch.no_grad():
        return quantize_graph(graph, uniform_config(bits, 32))


@pytest.mark.usefixtures("two_threads")
def test_results_come_in_order_and_each_runs_in_one_thread() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(9):
            read.append(item)
            yield item

    results = run_in_order(lambda item: (item, torch.get_num_threads()), items())
    assert next(results) == (0, 1)
    assert len(read) <= 4  # two at once, one waits, one is given
    assert list(results) == [(item, 1) for item in range(1, 9)]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_an_error_comes_at_its_place_and_an_early_end_stops() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = run_in_order(work, range(100))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    stopped = run_in_order(work, iter([0, 1, 1, 1]))
    assert next(stopped) == 0
    stopped.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_score_is_the_same_on_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "forward_batch_size", property(lambda _: 3))
    data = ToyData(CASES["plain"].inputs(10), [0, 1] * 5)
    both = drain_steps(evaluate_network(network(), quantized(), data))
    torch.set_num_threads(1)
    assert drain_steps(evaluate_network(network(), quantized(), data)) == both


def test_both_networks_have_one_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(isinstance(one, CompiledNetwork) for one in compile_both(network(), quantized()))
    stand_in = cast("QuantGraph", object())
    assert compile_both(network(), stand_in)[1] is stand_in

    def fail(_: object) -> CompiledNetwork:
        raise CaptureError("no")

    monkeypatch.setattr(forwards, "compile_simulation", fail)
    own, simulated = network(), quantized()
    assert compile_both(own, simulated) == (own.graph, simulated)


def test_compiled_outputs_are_those_of_the_graphs() -> None:
    own, simulated, x = network(), quantized(), CASES["plain"].inputs(4)
    graphs: tuple[Runnable, Runnable] = own.graph, simulated
    for made, graph in zip(compile_both(own, simulated), graphs, strict=True):
        found, wanted = made.run(x), graph.run(x)
        assert isinstance(found, Tensor)
        assert isinstance(wanted, Tensor)
        torch.testing.assert_close(found, wanted, atol=1e-5 * float(wanted.abs().max()), rtol=0)
