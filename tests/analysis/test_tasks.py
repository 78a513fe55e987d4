"""Networks of other tasks in every analysis: swept, screened, scored, costed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from accelerator.machine import load_preset
from analysis.calibration import calibrate_network
from analysis.cost.estimate import estimate_config_cost
from analysis.evaluation.evaluate import evaluate_network, score_float_network
from analysis.evaluation.measures import Interval
from analysis.evaluation.user_metric import MAX_HELD_BYTES, MetricTally
from analysis.network import Network, prepare_network
from analysis.network_layout import layer_places
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import RunStore
from analysis.sensitivity.analyze import analyze_exactly
from analysis.sensitivity.exact.executors import Pool, Serial
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.sweep import Question, Sweep, View
from analysis.study import Study
from data_io.dataset import Dataset, Targets
from quant.config import uniform_config
from quant.errors import QuantError
from quant.inputs import Inputs, tensors_of_batch
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.methods import Method
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.analysis.sweeps import Case
from tests.task_networks import CLASSES, TASKS

EVERY = pytest.mark.parametrize("name", TASKS)
CLASSIFIERS = ("towers", "tokens", "recurrent")


@dataclass(frozen=True, eq=False)
class Held:
    """Samples in memory, of one input or of several."""

    inputs: tuple[Tensor, ...]
    labels: Tensor | None
    targets: Tensor | None = None

    def read(self, indices: Sequence[int]) -> tuple[Inputs, Tensor | None]:
        chosen = list(indices)
        found = tuple(values[chosen] for values in self.inputs)
        labels = None if self.labels is None else self.labels[chosen]
        return (found if len(found) > 1 else found[0]), labels

    def read_targets(self, indices: Sequence[int]) -> Targets:
        return None if self.targets is None else self.targets[list(indices)]


def held(inputs: Inputs, labels: Tensor | None = None, targets: Tensor | None = None) -> Dataset:
    source = Held(tensors_of_batch(inputs), labels, targets)
    count = len(source.inputs[0])
    return Dataset("toy", source, tuple(range(count)), labels is not None, (), lambda: "toy")


@cache
def task(name: str, count: int = 12) -> Case:
    built = TASKS[name]
    network = prepare_network(name, built.model(), built.inputs, name)
    inputs = built.draw(count)
    labels = None
    if name in CLASSIFIERS:
        with torch.no_grad():
            labels = network.graph(inputs).argmax(1)
        labels[::3] = (labels[::3] + 1) % CLASSES
    data = held(inputs, labels)
    return Case(network, data, drain_steps(calibrate_network(network, data)))


def sweep(view: View = View.ONLY) -> Sweep:
    return Sweep(uniform_config(8, 8), bits=(8, 3), sides=tuple(Side), view=view)


def energies(network: Network, graph: QuantGraph, data: Dataset) -> float:
    """Return the SQNR over all outputs in dB by a plain loop over images, one at a time."""
    signal = [0.0] * len(network.graph.output_shapes)
    noise = list(signal)
    for batch in data.batches(1):
        with torch.no_grad():
            pairs = zip(
                tensors_of_batch(network.graph.run(batch.inputs)),
                tensors_of_batch(graph.run(batch.inputs)),
                strict=True,
            )
            for place, (before, after) in enumerate(pairs):
                signal[place] += float(before.double().square().sum())
                noise[place] += float((before.double() - after.double()).square().sum())
    shares = [n / s for n, s in zip(noise, signal, strict=True)]
    mean = sum(shares) / len(shares)
    return -10 * math.log10(mean) if mean > 0 else math.inf


@pytest.mark.parametrize("view", View)
@EVERY
def test_the_exact_sweep_is_the_naive_loop(name: str, view: View) -> None:
    it = task(name)
    found = drain_steps(analyze_exactly(it.study(), sweep(view), Serial()))
    assert {s.question.layer for s in found.scores} == {x.name for x in it.network.graph.layers}
    graphs = {
        bits: quantize_graph(it.network.graph, uniform_config(bits, bits), it.calibrated.statistics)
        for bits in (8, 3)
    }
    for score in found.scores:
        question, graph = score.question, graphs[score.question.bits]
        one = graph.only_layer if view is View.ONLY else graph.all_but_layer
        with graph.only_side(question.side), one(question.layer, question.side):
            wanted = energies(it.network, graph, it.data)
        if wanted < 90:
            assert score.sqnr_db == pytest.approx(wanted, abs=0.05), question
        else:  # above, the rounding of float32 is part of the noise
            assert score.sqnr_db > 85
        assert (score.agreement is None) == (name not in CLASSIFIERS)
        assert (score.accuracy_drop is None) == (name not in CLASSIFIERS)


@pytest.mark.parametrize("name", ["towers", "detector", "tokens"])
def test_a_pool_and_a_store_give_the_same_bits(name: str, tmp_path: Any) -> None:
    it, store = task(name), RunStore(tmp_path)
    alone = drain_steps(analyze_exactly(it.study(), sweep(), Serial()))
    pooled = drain_steps(analyze_exactly(it.study(store), sweep(), Pool(2)))
    again = drain_steps(analyze_exactly(it.study(store), sweep(), Serial()))
    assert alone.scores == pooled.scores == again.scores
    assert again.forwards == 0


@EVERY
def test_screening_comes_close_to_the_exact_sweep(name: str) -> None:
    it = task(name, 24)
    asked = Sweep(uniform_config(8, 8), bits=(8,), sides=(Side.WEIGHTS, Side.ACTIVATIONS))
    found = drain_steps(screen_layers(it.study(), asked))
    wanted: dict[Question, float] = {
        score.question: score.sqnr_db
        for score in drain_steps(analyze_exactly(it.study(), asked, Serial())).scores
    }
    assert [score.question for score in found.scores] == list(wanted)
    for score in found.scores:
        if wanted[score.question] < 80:
            assert score.sqnr_db == pytest.approx(wanted[score.question], abs=4), score.question
    apart = [s.sqnr_db - wanted[s.question] for s in found.scores if wanted[s.question] < 80]
    assert abs(sum(apart) / len(apart)) < 2


@EVERY
def test_it_is_scored_as_its_outputs_allow(name: str) -> None:
    it = task(name)
    graph = quantize_graph(it.network.graph, uniform_config(6, 6), it.calibrated.statistics)
    found = drain_steps(evaluate_network(it.network, graph, it.data))
    assert found.sqnr_db == pytest.approx(energies(it.network, graph, it.data), abs=0.01)
    assert found.cosine is not None
    assert 0.8 < found.cosine < 1
    assert found.classes == found.labelled == (name in CLASSIFIERS)
    assert (found.quantized_top1 is None) == (name not in CLASSIFIERS)
    assert (drain_steps(score_float_network(it.network, it.data)) is None) == (
        name not in CLASSIFIERS
    )


@EVERY
def test_it_costs_something_and_can_be_drawn(name: str) -> None:
    graph = task(name).network.graph
    report = estimate_config_cost(
        task(name).network, uniform_config(8, 8), load_preset("edge_systolic_8b")
    )
    assert report.energy_pj > 0
    assert report.latency_s > 0
    assert {place.layer for place in layer_places(graph)} == {layer.name for layer in graph.layers}


@pytest.mark.parametrize("step", [AdaRound(iterations=20), CorrectBias(Method.EMPIRICAL)])
@pytest.mark.parametrize("name", ["towers", "tokens", "detector"])
def test_repairs_learn_from_several_inputs(name: str, step: AdaRound | CorrectBias) -> None:
    it = task(name)
    what = Experiment(uniform_config(4, 8), load_preset("edge_systolic_8b"), (step,))
    run = drain_steps(
        measure_experiment(Study(it.network, it.data, it.data, calibrated=it.calibrated), what)
    )
    assert run.evaluation.sqnr_db > 5
    assert set(run.layer_sqnr_db) == {layer.name for layer in it.network.graph.layers}


class Ask:
    """A metric of the user's: the mean absolute difference from the targets, for each image."""

    name, higher_is_better = "error", False

    def __call__(self, outputs: Any, targets: Any) -> Any:
        first = tensors_of_batch(outputs)[0]
        return (first - targets).abs().flatten(1).mean(1)


class AskAll(Ask):
    """The same, one number for all images."""

    name = "error of all"

    def __call__(self, outputs: Any, targets: Any) -> Any:
        return float(super().__call__(outputs, targets).mean())


def with_targets(name: str) -> tuple[Case, Dataset]:
    it = task(name, 24)
    inputs, labels = it.data.source.read(range(24))
    shape = (24, *it.network.graph.output_shape)
    targets = torch.randn(shape, generator=torch.Generator().manual_seed(9))
    return it, held(inputs, labels, targets)


@pytest.mark.parametrize("name", ["segments", "detector"])
def test_a_metric_is_that_of_a_plain_loop(name: str) -> None:
    it, data = with_targets(name)
    graph = quantize_graph(it.network.graph, uniform_config(4, 4), it.calibrated.statistics)
    (whole,) = data.batches(24)
    wanted = [Ask()(run.run(whole.inputs), whole.targets) for run in (it.network.graph, graph)]
    each, every = (
        drain_steps(evaluate_network(it.network, graph, data, ask)).metric
        for ask in (Ask(), AskAll())
    )
    assert each is not None
    assert every is not None
    for found in (each, every):
        assert found.float_value == pytest.approx(float(wanted[0].mean()), rel=1e-5)
        assert found.quantized_value == pytest.approx(float(wanted[1].mean()), rel=1e-5)
        assert found.metric_loss == found.change == found.quantized_value - found.float_value
    assert isinstance(each.change_ci95, Interval)
    assert each.change_ci95.low < each.change < each.change_ci95.high
    assert isinstance(each.float_ci95, Interval)
    assert each.float_ci95.low < each.float_value < each.float_ci95.high
    assert every.change_ci95 is None


def test_the_labels_are_the_targets_where_there_are_no_others() -> None:
    it = task("towers")
    (batch,) = it.data.batches(12)
    assert isinstance(batch.targets, Tensor)
    assert batch.labels is not None
    assert torch.equal(batch.targets, batch.labels)


class Broken(Ask):
    name = "broken"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __call__(self, outputs: Any, targets: Any) -> Any:
        del outputs, targets
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (QuantError("mine.py:f failed in line 3."), "line 3"),
        ("much", "must give finite numbers; broken gave 'much'"),
        (math.nan, "must give finite numbers"),
        ([1.0, 2.0], r"one number for each of 24 images.*an array \(2,\)"),
    ],
)
def test_a_metric_that_fails_loses_nothing_else(answer: Any, words: str) -> None:
    it, data = with_targets("segments")
    graph = quantize_graph(it.network.graph, uniform_config(4, 4), it.calibrated.statistics)
    found = drain_steps(evaluate_network(it.network, graph, data, Broken(answer)))
    assert found.metric is None
    assert found.sqnr_db > 5
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(found.metric_problem)


def test_outputs_that_do_not_fit_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.evaluation.user_metric.MAX_HELD_BYTES", 100)
    assert MAX_HELD_BYTES > 100
    tally = MetricTally(AskAll())
    with pytest.raises(QuantError, match="Return one number for each image"):
        tally.add_outputs((torch.ones(4, 9),), (torch.ones(4, 9),), torch.ones(4, 9))
