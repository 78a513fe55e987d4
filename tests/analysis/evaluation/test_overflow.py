"""Outputs of a quantized network that are no numbers: said, named, and never silently exact."""

import json
import math
import re

import pytest
import torch
from torch import Tensor, nn

from accelerator.machine import load_preset
from analysis.evaluation.evaluate import evaluate_network
from analysis.network import Network, prepare_network
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run
from analysis.runs.verdict import Level, judge_run
from analysis.sensitivity.analyze import analyze_sensitivity
from analysis.sensitivity.sweep import Depth, Sweep
from analysis.study import Study
from commands.json_answers.run import summarize_run
from data_io.arrays import ArraySource
from data_io.dataset import Dataset
from data_io.preprocessing import Preprocess
from quant.config import uniform_config
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.simulation.quant_graph import quantize_graph

ROWS = 8


class Shares(nn.Module):
    """Divides by a number that is 1 for most rows and 0.0001 for two: 8 bits make that 0."""

    def __init__(self) -> None:
        super().__init__()
        self.size = nn.Linear(1, 1)
        with torch.no_grad():
            self.size.weight.fill_(1.0)
            self.size.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        size = self.size(x[:, :1]).relu()
        shares: Tensor = size * x[:, 1:] / size
        return shares


class SharesOfTwo(Shares):
    """The same for two rows at a time and no other number, as a file of a fixed batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(2, 4))


def rows() -> Tensor:
    x = torch.rand(ROWS, 4) + 0.5
    x[:2, 0] = 1e-4
    return x


@pytest.fixture(scope="module")
def network() -> Network:
    return prepare_network("shares", Shares(), (4,), "digest")


@pytest.fixture(scope="module")
def study(network: Network) -> Study:
    source = ArraySource(rows().numpy(), None, Preprocess())
    data = Dataset(
        "rows",
        source,
        tuple(range(ROWS)),
        labelled=False,
        class_names=(),
        source_digest=lambda: "rows",
    )
    return Study(network, data, data)


@pytest.fixture(scope="module")
def run(study: Study) -> Run:
    wish = Experiment(uniform_config(8, 8), load_preset("edge_systolic_8b"))
    return drain_steps(measure_experiment(study, wish))


def test_images_without_numbers_are_counted_and_the_layer_is_named(run: Run) -> None:
    assert run.evaluation.overflow.startswith(
        "The quantized network's outputs must be finite numbers; for 2 of 8 rows some are NaN or "
        "infinite, first after "
    )
    assert 0 < run.evaluation.sqnr_db < 20  # two rows of eight count as 0
    assert judge_run(run).level is Level.NOT_DEPLOYABLE


def test_the_layer_of_a_network_with_a_fixed_batch_is_named(study: Study) -> None:
    fixed = prepare_network("two", SharesOfTwo(), (4,), "two", batch=2)
    data = study.scored_images.subset([2, 3, 4, 5, 6, 7, 0])  # the last batch is half full
    wish = Experiment(uniform_config(8, 8), load_preset("edge_systolic_8b"))
    run = drain_steps(measure_experiment(Study(fixed, data, study.calibration), wish))
    assert "for 1 of 7 rows some are NaN or infinite, first after " in run.evaluation.overflow
    (named,) = re.findall(r"first after (.+), and count", run.evaluation.overflow)
    assert named in [layer.name for layer in fixed.graph.layers]


def test_the_answer_is_json_all_the_same(run: Run, network: Network) -> None:
    json.dumps(summarize_run(run, network), allow_nan=False)


class Held:
    """Outputs of an interrupted score, in memory."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = {}

    def find_outputs(self, place: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None:
        return self.known.get(place)

    def keep_outputs(
        self, place: int, references: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        self.known[place] = references, outputs

    def flush_outputs(self) -> None: ...

    def forget_outputs(self) -> None: ...


def test_a_score_that_goes_on_tells_of_the_images_before_too(study: Study) -> None:
    calibrated = drain_steps(study.collect_statistics())
    graph = study.network.graph
    quantized = quantize_graph(graph, uniform_config(8, 8), calibrated.statistics)
    stored = Held()
    first, again = (
        drain_steps(evaluate_network(study.network, quantized, study.scored_images, None, stored))
        for _ in range(2)
    )
    assert stored.known
    assert first.overflow == again.overflow != ""


def test_at_32_bits_nothing_is_said(study: Study) -> None:
    wish = Experiment(uniform_config(32, 32), load_preset("edge_systolic_8b"))
    assert drain_steps(measure_experiment(study, wish)).evaluation.overflow == ""


def test_a_sweep_ranks_the_guilty_layer_by_a_number(study: Study) -> None:
    sweep = Sweep(uniform_config(8, 8), (8,), (Side.ACTIVATIONS,))
    found = drain_steps(analyze_sensitivity(study, sweep, Depth.EXACT))
    values = [score.sqnr_db for score in found.scores]
    assert all(not math.isnan(value) for value in values)
    assert min(values) < 20
