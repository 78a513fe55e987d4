"""What holds for every repair, on every network."""

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor

from quant.config import uniform_config
from quant.graph.float_graph import FloatGraph
from quant.passes.absorb_bias import AbsorbBias, minima_of_channels
from quant.passes.adaround import AdaRound, AdaRoundResult
from quant.passes.calibrate import Calibrate, Calibration
from quant.passes.correct_bias import CorrectBias, Corrected
from quant.passes.equalize import Equalize
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.passes.methods import Method
from quant.progress import Steps, drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.networks import CASES, DISTINCT, SMALL, graph_of
from tests.quant.passes.recorder import recorded
from tests.shared_answers import content

QuantPass = CorrectBias | AdaRound
PASSES: dict[str, QuantPass] = {
    "correct-bias, empirical": CorrectBias(Method.EMPIRICAL),
    "correct-bias, analytic": CorrectBias(Method.ANALYTIC),
    "adaround": AdaRound(iterations=2, rows=64),
}
NETWORKS = (*SMALL, "fashion-resnet")
EVERY = [(name, case) for name in PASSES for case in NETWORKS]
IMAGES = 4


@cache
def folded(case: str) -> FloatGraph:
    return FoldBatchNorm()(graph_of(case))


@cache
def calibration(case: str) -> Calibration:
    return drain_steps(Calibrate()(folded(case), [CASES[case].inputs(IMAGES)]))


def simulated(case: str) -> QuantGraph:
    return quantize_graph(folded(case), uniform_config(4, 8), calibration(case))


def steps(name: str, case: str, quantized: QuantGraph) -> Steps[Corrected | AdaRoundResult]:
    batches = list(CASES[case].inputs(IMAGES).split(3))
    return PASSES[name](folded(case), quantized, batches)


def normals(graph: FloatGraph) -> dict[str, list[list[float]]]:
    return {
        node: [normal.mean.tolist(), normal.std.tolist()] for node, normal in graph.normals.items()
    }


@pytest.mark.parametrize("case", DISTINCT)
def test_absorbing_what_calibration_saw_keeps_the_float_function_where_nothing_pads(
    case: str,
) -> None:
    graph, inputs = folded(case), CASES[case].inputs(IMAGES)
    for start in (graph, Equalize()(graph).graph):
        lifted = with_high_biases(start)
        found = AbsorbBias()(lifted, minima_of_channels(lifted, [inputs]))
        wanted, got = lifted(inputs), found.graph(inputs)
        assert bool(torch.isfinite(got).all())
        if not found.inexact:
            assert float((got - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())
        for shift in found.shifts.values():
            assert bool((shift >= 0).all())


@torch.no_grad()
def with_high_biases(graph: FloatGraph) -> FloatGraph:
    """Return a copy whose layers all have something to absorb."""
    result = graph.copy_graph()
    for layer in result.layers:
        if layer.bias is not None:
            result.stored_tensor(layer.bias).add_(1.0)
    return result


@pytest.mark.parametrize("case", DISTINCT)
def test_float_repairs_never_change_the_graph_they_are_given(case: str) -> None:
    graph, inputs = folded(case), CASES[case].inputs(IMAGES)
    before, known = content(graph), normals(graph)
    results = [
        Equalize()(graph).graph,
        Equalize(replace_relu6=True)(graph).graph,
        AbsorbBias()(graph).graph,
        AbsorbBias()(graph, minima_of_channels(graph, [inputs])).graph,
    ]
    with torch.no_grad():
        for result in results:
            for value in result.module.state_dict().values():
                value.add_(1)
            for normal in result.normals.values():
                if normal not in graph.normals.values():  # a changed one must be another
                    normal.mean.add_(1)
    assert content(graph) == before
    assert normals(graph) == known


@dataclass(frozen=True, eq=False)
class Finished:
    """What a pass left behind, and the float graph's content and statistics before and after."""

    quantized: QuantGraph
    fractions: list[float]
    result: Corrected | AdaRoundResult
    before: list[object]
    after: list[object]


@cache
def finished(name: str, case: str) -> Finished:
    graph, quantized = folded(case), simulated(case)
    before: list[object] = [content(graph), normals(graph)]
    fractions: list[float] = []

    def watched() -> Steps[Corrected | AdaRoundResult]:
        running = steps(name, case, quantized)
        while True:
            try:
                step = next(running)
            except StopIteration as stop:
                result: Corrected | AdaRoundResult = stop.value
                return result
            fractions.append(step.fraction)
            yield step

    result = drain_steps(watched())
    with torch.no_grad():  # nothing of it is the float graph's own
        for value in quantized.graph.module.state_dict().values():
            value.add_(1)
    after: list[object] = [content(graph), normals(graph)]
    return Finished(quantized, fractions, result, before, after)


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_quant_repairs_never_change_the_float_graph(name: str, case: str) -> None:
    done = finished(name, case)
    assert done.after == done.before


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_progress_rises_and_stays_within_one(name: str, case: str) -> None:
    fractions = finished(name, case).fractions
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)


@pytest.mark.parametrize(("name", "case"), EVERY)
def test_every_weighted_layer_is_treated_or_named(name: str, case: str) -> None:
    result = finished(name, case).result
    if isinstance(result, AdaRoundResult):
        treated = [layer.layer for layer in result.layers]
    else:
        treated = [shift.layer for shift in result.shifts]
    weighted = [layer.name for layer in folded(case).layers if layer.weight]
    assert sorted([*treated, *result.skipped]) == sorted(weighted)
    assert all(result.skipped.values())


@pytest.mark.parametrize(("name", "case"), [pair for pair in EVERY if pair[1] in SMALL])
def test_closed_after_any_step_everything_still_runs(name: str, case: str) -> None:
    inputs = CASES[case].inputs(IMAGES)
    shape = folded(case)(inputs).shape
    for count in (1, 4):
        quantized = simulated(case)
        states = {site: quantizer.state for site, quantizer in quantized.quantizers.items()}
        running = steps(name, case, quantized)
        for _, _step in zip(range(count), running, strict=False):
            pass
        running.close()
        got: Tensor = quantized(inputs)
        assert got.shape == shape
        assert bool(torch.isfinite(got).all())
        assert torch.equal(got, recorded(quantized.module, inputs).given["output"])
        assert states == {site: each.state for site, each in quantized.quantizers.items()}
