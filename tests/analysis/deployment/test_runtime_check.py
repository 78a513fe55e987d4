"""The simulation beside a runtime: counts, layers and latency of one whose errors are known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from analysis.deployment.runtime_check import ExecutionCheck, check_file_execution
from analysis.evaluation.intervals import proportion_interval
from analysis.evaluation.layer_sqnr import record_layer_outputs
from analysis.evaluation.measures import sqnr_db
from analysis.network import Network
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.inputs import Inputs, Outputs, tensors_of_batch
from quant.passes.calibrate import Calibrate
from quant.progress import Progress, drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.networks import CASES, graph_of

COUNT = 40


@dataclass(frozen=True)
class Batch:
    inputs: Tensor
    labels: Tensor | None
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Images:
    inputs: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, size: int) -> Iterator[Batch]:
        for first in range(0, len(self), size):
            places = slice(first, first + size)
            labels = None if self.labels is None else self.labels[places]
            chosen = self.inputs[places]
            yield Batch(chosen, labels, tuple(range(first, first + len(chosen))))


@dataclass
class Changed:
    """The simulation with its outputs rolled by one class on inputs whose sum is positive."""

    graph: QuantGraph
    wrong: bool = True

    def run(self, inputs: Inputs) -> Outputs:
        (one,) = tensors_of_batch(inputs)
        outputs = self.graph(one)
        rolled = (one.sum((1, 2, 3)) > 0)[:, None] & self.wrong
        return torch.where(rolled, outputs.roll(1, 1), outputs)


@dataclass
class Runtime:
    """A runtime with an error of 0.1 in what leaves one layer."""

    network: Network
    graph: QuantGraph
    threads: int = 3
    integer_layers: frozenset[str] = frozenset({"linear", "conv1"})

    @property
    def floats(self) -> Changed:
        return Changed(self.graph, wrong=False)

    @property
    def integers(self) -> Changed:
        return Changed(self.graph)

    @property
    def plain(self) -> Changed:
        return Changed(self.graph, wrong=False)

    def layer_values(self, inputs: Inputs) -> Mapping[str, Tensor]:
        found = record_layer_outputs(self.network, self.graph, inputs)
        return {**found, "cat": found["cat"] + 0.1}


@pytest.fixture(scope="module")
def network() -> Network:
    return Network("kitchen", "", graph_of("kitchen"), 0)


@pytest.fixture(scope="module")
def simulated(network: Network) -> QuantGraph:
    batch = CASES["kitchen"].inputs(16, seed=3)
    return quantize_graph(
        network.graph, QuantConfig(), drain_steps(Calibrate(16)(network.graph, [batch]))
    )


def check(network: Network, graph: QuantGraph, labels: Tensor | None = None) -> ExecutionCheck:
    data = Images(CASES["kitchen"].inputs(COUNT), labels)
    return drain_steps(check_file_execution(network, graph, Runtime(network, graph), data, runs=3))


def test_it_counts_where_integer_kernels_part_from_the_simulation(
    network: Network, simulated: QuantGraph
) -> None:
    inputs = CASES["kitchen"].inputs(COUNT)
    parting = (inputs.sum((1, 2, 3)) > 0).nonzero().flatten().tolist()
    with torch.inference_mode():
        right = simulated(inputs).argmax(1)
        wanted = sqnr_db(simulated(inputs), Changed(simulated).run(inputs))  # type: ignore[arg-type]
    found = check(network, simulated, right)
    agreed = COUNT - len(parting)
    assert 0 < agreed < COUNT
    assert found.samples == COUNT
    assert found.executed.top1 == agreed / COUNT
    assert found.executed.top1_ci95 == proportion_interval(agreed, COUNT)
    assert found.executed.sqnr_db == pytest.approx(wanted)
    assert (found.plain.top1, found.plain.sqnr_db) == (1.0, float("inf"))
    assert [one.index for one in found.partings] == parting
    assert all(one.executed_class == (one.simulated_class + 1) % 5 for one in found.partings)
    assert {name: score.top1 for name, score in found.scores.items()} == {
        "float": found.scores["float"].top1, "simulated": 1.0, "plain": 1.0,
        "executed": agreed / COUNT,
    }  # fmt: skip


def test_the_worst_layer_is_the_one_with_the_error(network: Network, simulated: QuantGraph) -> None:
    found = check(network, simulated)
    assert found.worst_layer == "cat"
    assert set(found.layer_sqnr_db) == {layer.name for layer in network.graph.layers}
    assert {name for name, db in found.layer_sqnr_db.items() if db < float("inf")} == {"cat"}
    assert found.scores == {}
    assert found.integer_layers == ("conv1", "linear")
    assert (found.latency.runs, found.latency.batch, found.latency.threads) == (3, 1, 3)
    speedup = found.latency.float_s / found.latency.executed_s
    assert found.latency.quantized_speedup == pytest.approx(speedup)


def test_it_tells_how_far_it_is_and_needs_images(network: Network, simulated: QuantGraph) -> None:
    runtime = Runtime(network, simulated)
    steps = check_file_execution(network, simulated, runtime, Images(CASES["kitchen"].inputs(4)), 2)
    told = list(steps)
    assert all(isinstance(step, Progress) for step in told)
    fractions = [step.fraction for step in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1
    with pytest.raises(QuantError, match="needs data"):
        drain_steps(
            check_file_execution(network, simulated, runtime, Images(torch.empty(0, 3, 8, 8)))
        )
