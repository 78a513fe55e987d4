"""The exact sweep: against the quantized graph, against a naive sweep, stopped and resumed."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.calibration import Calibrated
from analysis.evaluation.evaluate import evaluate_network
from analysis.network import Network
from analysis.runs.run_store import RunStore
from analysis.sensitivity.analyze import (
    SCREENED_IMAGES,
    analyze_exactly,
    analyze_sensitivity,
    kept_sensitivity,
    rank_layers_worst_first,
)
from analysis.sensitivity.exact.executors import Pool, Serial
from analysis.sensitivity.exact.image_chunks import divide_into_chunks
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.sweep import Sensitivity, Sweep, View
from analysis.study import Study
from data_io.bundled import fashion_test_set
from data_io.dataset import Dataset
from quant.config import QuantConfig, Rule, uniform_config
from quant.errors import ConfigError, QuantError
from quant.graph.float_graph import FloatGraph
from quant.graph.operators import Kind
from quant.inputs import first_output_of
from quant.passes.equalize import Equalize
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import Granularity, SpecChange
from tests.analysis.sweeps import Case, case, dataset
from tests.sample_networks import sample_network

ALL_SIDES = tuple(Side)
CHUNKS_OF_FOUR = 20_000  # bytes, of the net named kitchen
TINY = 1  # bytes: one image at a time, nothing kept


def sweep(view: View = View.ONLY, **changes: object) -> Sweep:
    plain = Sweep(uniform_config(8, 8), bits=(8, 3), sides=ALL_SIDES, view=view)
    return replace(plain, **changes)  # type: ignore[arg-type]


def answers(
    it: Case, asked: Sweep, store: RunStore | None = None, count: int | None = None
) -> Sensitivity:
    data = it.data if count is None else it.data.first(count)
    return drain_steps(
        analyze_exactly(
            Study(it.network, data, store=store, calibrated=it.calibrated), asked, Serial()
        )
    )


def simulated(it: Case, bits: int) -> QuantGraph:
    return quantize_graph(it.network.graph, uniform_config(bits, bits), it.calibrated.statistics)


NETWORKS = ["kitchen", "gated", "attention", "shared", "scaled", "bare", "grouped", "perceptron"]


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_answer_is_that_of_the_quantized_graph(name: str, view: View) -> None:
    it = case(name)
    found = answers(it, sweep(view))
    layers = [layer.name for layer in it.network.graph.layers]
    assert [s.question for s in found.scores] == sorted(
        (s.question for s in found.scores),
        key=lambda q: (layers.index(q.layer), ALL_SIDES.index(q.side), -q.bits),
    )
    graphs = {bits: simulated(it, bits) for bits in (8, 3)}
    for score in found.scores:
        question, graph = score.question, graphs[score.question.bits]
        one = graph.only_layer if view is View.ONLY else graph.all_but_layer
        with graph.only_side(question.side), one(question.layer, question.side):
            wanted = drain_steps(evaluate_network(it.network, graph, it.data))
        assert score.images == wanted.samples
        if wanted.sqnr_db < 90:  # above, the rounding of float32 is part of the noise
            assert score.sqnr_db == pytest.approx(wanted.sqnr_db, abs=0.05), question
        else:
            assert score.sqnr_db > 85
        if it.data.labelled:
            assert score.agreement == wanted.agreement
            assert score.accuracy_drop == pytest.approx(wanted.top1_drop)
            assert score.accuracy_drop_ci95 == wanted.top1_drop_ci95
            assert found.float_top1 == pytest.approx(wanted.float_top1)


def test_kl_and_cross_entropy_by_hand() -> None:
    it = case("kitchen")
    found = answers(it, sweep(bits=(3,), sides=(Side.WEIGHTS,), layers=("conv2",)))
    (score,) = found.scores
    graph = simulated(it, score.question.bits)
    inputs, labels = it.data.source.read(range(len(it.data)))
    assert labels is not None
    with torch.no_grad(), graph.only_side(Side.WEIGHTS), graph.only_layer("conv2", Side.WEIGHTS):
        outputs = it.network.graph(inputs), graph(inputs)
    before, after = (output.double().log_softmax(1) for output in outputs)
    kl = torch.nn.functional.kl_div(after, before, log_target=True, reduction="batchmean")
    rise = (before - after).gather(1, labels[:, None]).mean()
    assert score.kl == pytest.approx(float(kl), rel=1e-4)
    assert score.cross_entropy == pytest.approx(float(rise), rel=1e-3)


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("name", ["kitchen", "gated", "attention", "fashion-mobilenet"])
def test_it_equals_the_naive_sweep_to_the_last_bit(name: str, view: View) -> None:
    it = case(name)
    fast = answers(it, sweep(view))
    steps = analyze_exactly(it.study(), sweep(view), Serial(), reuse=False)
    slow = drain_steps(steps)
    assert (fast.scores, fast.whole, fast.float_top1) == (slow.scores, slow.whole, slow.float_top1)
    assert fast.forwards < 0.75 * slow.forwards
    bases = 6 if view is View.ALL_BUT else 0
    # both sides of a layer without weights are its activations, and run once
    twice = {s.question.layer for s in slow.scores} - {
        s.question.layer for s in slow.scores if s.question.side is Side.WEIGHTS
    }
    saved = 2 * len(twice) if view is View.ONLY else 0
    assert slow.forwards == pytest.approx(len(slow.scores) - saved + bases + 1)
    assert len(fast.whole) == bases


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("name", ["kitchen", "attention"])
def test_little_memory_changes_no_answer(name: str, view: View) -> None:
    it = case(name)
    roomy, tiny = answers(it, sweep(view)), answers(it, sweep(view, memory_bytes=TINY))
    for a, b in zip(roomy.scores, tiny.scores, strict=True):
        assert a.question == b.question
        assert a.sqnr_db == pytest.approx(b.sqnr_db, abs=0.01)
        assert (a.agreement, a.accuracy_drop) == (b.agreement, b.accuracy_drop)


def test_the_whole_network_is_among_the_answers_of_all_but() -> None:
    it = case("kitchen")
    found = answers(it, sweep(View.ALL_BUT))
    for score in found.whole:
        graph = simulated(it, score.question.bits)
        with graph.only_side(score.question.side):
            wanted = drain_steps(evaluate_network(it.network, graph, it.data))
        assert score.question.layer == ""
        assert score.sqnr_db == pytest.approx(wanted.sqnr_db, abs=0.01)


def test_rules_of_the_configuration_count_but_for_their_bits() -> None:
    it = case("kitchen")
    change = SpecChange(bits=16, granularity=Granularity.PER_TENSOR)
    config = QuantConfig(rules=(Rule("conv2", weight=change),))
    asked = sweep(config=config, sides=(Side.WEIGHTS,), layers=("conv1", "conv2"))
    ruled, plain = answers(it, asked), answers(it, replace(asked, config=QuantConfig()))
    assert [s.question.bits for s in ruled.scores] == [8, 3, 8, 3]
    same = [a.sqnr_db == b.sqnr_db for a, b in zip(ruled.scores, plain.scores, strict=True)]
    assert same == [True, True, False, False]


def test_an_average_pool_takes_the_grid_of_its_input() -> None:
    it = case("plain")
    pool = next(la for la in it.network.graph.layers if la.kind is Kind.AVERAGE_POOL)
    found = answers(it, sweep(sides=(Side.ACTIVATIONS,), layers=(pool.name,)))
    for score in found.scores:
        graph = simulated(it, score.question.bits)
        with graph.only_layer(pool.name, Side.ACTIVATIONS):
            assert score.sqnr_db == pytest.approx(
                drain_steps(evaluate_network(it.network, graph, it.data)).sqnr_db, abs=0.01
            )


def test_a_second_question_runs_nothing(tmp_path: Path) -> None:
    it, store = case("kitchen"), RunStore(tmp_path)
    first = answers(it, sweep(), store)
    assert first.forwards > 1
    for again in (sweep(), sweep(bits=(3,)), sweep(layers=("conv2",), sides=(Side.WEIGHTS,))):
        second = answers(it, again, RunStore(tmp_path))
        assert second.forwards == 0
        assert set(second.scores) <= set(first.scores)
        assert second.float_top1 == first.float_top1


def test_other_networks_images_and_configurations_answer_for_themselves(tmp_path: Path) -> None:
    it, store = case("kitchen"), RunStore(tmp_path)
    asked = sweep(sides=(Side.WEIGHTS,), bits=(3,))
    first = answers(it, asked, store)
    repaired = it.network.graph.copy_graph()
    repaired.store_tensor("linear.weight", repaired.stored_tensor("linear.weight") * 1.5)
    inputs, labels = it.data.source.read(range(len(it.data)))
    others = [
        # the same digest, as a caller gives who repairs a network and forgets to change it
        replace(it, network=Network("kitchen", it.network.digest, repaired, 0)),
        replace(it, data=dataset(first_output_of(inputs) + 0.1, labels, "others")),
    ]
    for other in others:
        assert answers(other, asked, store).forwards > 1
    coarse = replace(asked, config=uniform_config(8, 8, Granularity.PER_TENSOR))
    assert answers(it, coarse, store).scores != first.scores
    assert answers(it, asked, store) == replace(first, seconds=ANY_TIME, forwards=0.0)


class _Anything(float):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, float)

    __hash__ = float.__hash__


ANY_TIME = _Anything()


def test_other_statistics_change_activations_alone(tmp_path: Path) -> None:
    it, store = case("kitchen"), RunStore(tmp_path)
    answers(it, sweep(), store)
    statistics = {
        name: replace(found, high=found.high * 2)
        for name, found in it.calibrated.statistics.items()
    }
    other = replace(it, calibrated=replace(it.calibrated, statistics=statistics))
    assert answers(other, sweep(sides=(Side.WEIGHTS,)), store).forwards == 0
    assert answers(other, sweep(sides=(Side.ACTIVATIONS,)), store).forwards > 1


def stopped_after(it: Case, asked: Sweep, store: RunStore, steps: int) -> int:
    """Run some steps of a sweep and close it; return how many it took to its end if it came."""
    work = analyze_exactly(it.study(store), asked, Serial())
    for done in range(steps):
        if next(work, None) is None:
            return done
    work.close()
    return steps


@pytest.mark.parametrize("view", View)
def test_stopped_and_resumed_it_computes_the_rest_alone(tmp_path: Path, view: View) -> None:
    it = case("kitchen")
    asked = sweep(view, memory_bytes=CHUNKS_OF_FOUR)
    whole = answers(it, asked)
    store = RunStore(tmp_path)
    for _ in range(3):
        stopped_after(it, asked, store, 30)
    before = kept_sensitivity(it.study(store), asked)
    assert 0 < sum(s.images for s in before.scores) < len(whole.scores) * len(it.data)
    rest = answers(it, asked, store)
    assert (rest.scores, rest.whole, rest.float_top1) == (
        whole.scores,
        whole.whole,
        whole.float_top1,
    )
    assert rest.forwards < whole.forwards
    assert answers(it, asked, store).forwards == 0


def test_what_is_kept_can_be_asked_for_at_any_time(tmp_path: Path) -> None:
    it, store, asked = case("kitchen"), RunStore(tmp_path), sweep(memory_bytes=CHUNKS_OF_FOUR)
    empty = kept_sensitivity(it.study(store), asked)
    assert (empty.scores, empty.whole, empty.float_top1) == ((), (), None)
    seen = 0
    for _ in range(4):
        stopped_after(it, asked, store, 30)
        now = kept_sensitivity(it.study(store), asked)
        images = sum(score.images for score in now.scores)
        assert images > seen
        seen = images
    final = answers(it, asked, store)
    assert kept_sensitivity(it.study(store), asked).scores == final.scores


@pytest.mark.parametrize("drawn", [False, True])
def test_more_images_refine_an_answer(tmp_path: Path, drawn: bool) -> None:
    it, asked = case("kitchen"), sweep(sides=(Side.WEIGHTS,), memory_bytes=CHUNKS_OF_FOUR)
    few = it.data.sample(5, seed=1) if drawn else it.data.first(5)
    store = RunStore(tmp_path)
    part = answers(replace(it, data=few), asked, store)
    more = answers(it, asked, store)
    alone = answers(it, asked)
    assert {s.images for s in part.scores} == {5}
    assert {s.images for s in more.scores} == {12}
    for a, b in zip(more.scores, alone.scores, strict=True):
        assert a.sqnr_db == pytest.approx(b.sqnr_db, abs=0.01)
        assert a.accuracy_drop == pytest.approx(b.accuracy_drop)
    # seven twelfths of the images were new
    assert more.forwards == pytest.approx(alone.forwards * 7 / 12, rel=0.2)
    # and the few are answered from among the many
    assert answers(replace(it, data=few), asked, store).forwards == 0


def test_layers_named_worst_are_answered_first() -> None:
    it = case("fashion-mobilenet")
    names = [layer.name for layer in it.network.graph.layers if layer.weight]
    worst = names[::-1]
    asked = sweep(sides=(Side.WEIGHTS,), bits=(4,), memory_bytes=2**18)
    data = it.data
    with_store = []
    for ranking in (None, worst):
        work = analyze_exactly(
            Study(it.network, data, calibrated=it.calibrated), asked, Serial(), ranking
        )
        with_store.append(drain_steps(work))
    assert with_store[0].scores == with_store[1].scores


def test_the_first_of_the_ranking_have_all_images_before_the_others_have_any(
    tmp_path: Path,
) -> None:
    it, store = case("fashion-mobilenet"), RunStore(tmp_path)
    worst = [layer.name for layer in it.network.graph.layers if layer.weight][::-1]
    asked = sweep(sides=(Side.WEIGHTS,), bits=(4,), memory_bytes=2**18)
    work = analyze_exactly(it.study(store), asked, Serial(), worst)
    for _ in work:
        now = kept_sensitivity(it.study(store), asked)
        others = [s for s in now.scores if s.question.layer not in worst[:8]]
        if others:
            break
    lead = {s.question.layer: s.images for s in now.scores if s.question.layer in worst[:8]}
    assert lead == dict.fromkeys(worst[:8], len(it.data))


def test_intervals_hold_the_figure_and_shrink_with_images() -> None:
    it = case("fashion-mobilenet", 64)
    asked = sweep(bits=(4,), sides=(Side.WEIGHTS,))
    few, many = answers(it, asked, count=8), answers(it, asked)
    widths = []
    for found in (few, many):
        for score in found.scores:
            assert score.sqnr_ci95 is not None
            assert score.agreement_ci95 is not None
            assert score.agreement is not None
            assert score.sqnr_ci95.low <= score.sqnr_db <= score.sqnr_ci95.high
            assert score.agreement_ci95.low <= score.agreement <= score.agreement_ci95.high
        widths.append(
            np.mean([s.sqnr_ci95.high - s.sqnr_ci95.low for s in found.scores if s.sqnr_ci95])
        )
    assert widths[1] < widths[0]


def test_decided_layers_stop_early_and_say_on_how_many_images(tmp_path: Path) -> None:
    it = case("gated", 128)
    asked = sweep(bits=(4,), sides=(Side.WEIGHTS,), memory_bytes=2**18, stop_when_decided=True)
    found = answers(it, asked, RunStore(tmp_path))
    whole = answers(it, replace(asked, stop_when_decided=False))
    images = {s.question.layer: s.images for s in found.scores}
    assert set(images) == {s.question.layer for s in whole.scores}
    assert min(images.values()) < max(images.values())
    assert found.forwards < whole.forwards
    full = {s.question.layer: s.sqnr_db for s in whole.scores}
    for layer, count in images.items():
        if count == len(it.data):
            continue
        (score,) = (s for s in found.scores if s.question.layer == layer)
        assert score.sqnr_ci95 is not None
        for other, sqnr in full.items():  # its place among all does not change any more
            if other != layer and images[other] == len(it.data):
                assert (sqnr < score.sqnr_db) == (sqnr < full[layer])


def test_outputs_without_classes_have_sqnr_alone() -> None:
    it = case("shared")
    found = answers(it, sweep(bits=(3,), sides=(Side.WEIGHTS,)))
    assert found.float_top1 is None
    for score in found.scores:
        assert (score.kl, score.cross_entropy, score.accuracy_drop) == (None, None, None)
        assert score.agreement is None


def test_a_classifier_without_labels_has_no_accuracy() -> None:
    it = case("kitchen")
    inputs, _ = it.data.source.read(range(len(it.data)))
    found = answers(replace(it, data=dataset(first_output_of(inputs))), sweep(bits=(3,)))
    assert found.float_top1 is None
    for score in found.scores:
        assert score.kl is not None
        assert (score.cross_entropy, score.accuracy_drop) == (None, None)


def test_questions_that_cannot_be_asked_are_told() -> None:
    it = case("kitchen")
    with pytest.raises(ConfigError, match="Layers must be the network's; got 'conv9'"):
        answers(it, sweep(layers=("conv1", "conv9")))
    with pytest.raises(ConfigError, match="must be 2 to 16; got 32"):
        answers(it, sweep(bits=(32,)))
    with pytest.raises(QuantError, match="A score needs data; got none"):
        answers(it, sweep(), count=0)
    inputs, _ = it.data.source.read(range(len(it.data)))
    wrong = dataset(first_output_of(inputs), torch.full((len(inputs),), 99))
    with pytest.raises(QuantError, match="Labels must lie between 0 and 4"):
        answers(replace(it, data=wrong), sweep())
    with pytest.raises(QuantError, match="has no statistics"):
        drain_steps(
            analyze_exactly(
                Study(it.network, it.data, calibrated=replace(it.calibrated, statistics={})),
                sweep(),
                Serial(),
            )
        )


def test_chunks_hold_every_image_once_and_take_over_what_is_known() -> None:
    data = dataset(torch.zeros(10, 1))
    plain = divide_into_chunks(data, 4)
    assert [chunk.images for chunk in plain] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    known = {plain[1].key: plain[1].images, "other": (9, 10), "overlaps": (4, 8)}
    taken = divide_into_chunks(data, 4, known)
    assert taken == plain
    odd = divide_into_chunks(data, 4, {"odd": (1, 3)})
    assert [chunk.images for chunk in odd] == [(0, 2, 4, 5), (1, 3), (6, 7, 8, 9)]
    assert divide_into_chunks(data.first(4), 4)[0].key == plain[0].key


def test_the_public_road_runs_a_pool(tmp_path: Path) -> None:
    it = case("kitchen")
    asked = sweep(bits=(4,))
    found = drain_steps(analyze_sensitivity(it.study(RunStore(tmp_path)), asked))
    assert found.scores == answers(it, asked).scores
    assert (found.images, found.sweep) == (12, asked)


def test_screening_puts_the_worst_first_only_where_there_is_something_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, store = case("fashion-mobilenet"), RunStore(tmp_path)
    asked = sweep(bits=(4,), sides=(Side.WEIGHTS,))
    ranking = drain_steps(rank_layers_worst_first(it.study(), asked))
    weighted = [layer.name for layer in it.network.graph.layers if layer.weight]
    assert sorted(ranking) == sorted(weighted)
    first = drain_steps(analyze_sensitivity(it.study(store), asked))
    calls: list[object] = []
    monkeypatch.setattr(
        "analysis.sensitivity.analyze.rank_layers_worst_first", lambda *a: calls.append(a)
    )
    again = drain_steps(analyze_sensitivity(it.study(store), asked))
    assert not calls
    assert again.scores == first.scores
    assert again.forwards == 0


def trained_ranking(graph: FloatGraph, network: Network, data: Dataset) -> list[str]:
    """Return the layers by output SQNR with their weights alone at 8 bits per-tensor."""
    config = uniform_config(8, 8, Granularity.PER_TENSOR)
    asked = Sweep(config, bits=(8,), sides=(Side.WEIGHTS,))
    it = replace(network, graph=graph)
    found = drain_steps(analyze_exactly(Study(it, data, calibrated=Calibrated()), asked, Pool()))
    return [s.question.layer for s in sorted(found.scores, key=lambda s: s.sqnr_db)]


def test_unbalanced_depthwise_layers_and_those_before_are_guilty_until_they_are_equalized() -> None:
    network = sample_network("fashion-mobilenet-imbalanced")
    data = fashion_test_set().sample(128)
    equalized = Equalize()(network.graph).graph
    before = trained_ranking(network.graph, network, data)
    after = trained_ranking(equalized, network, data)
    layers = [layer.name for layer in network.graph.layers]
    guilty = {
        name
        for place, name in enumerate(layers)
        for near in layers[place : place + 2]
        if network.graph[near].kind is Kind.DEPTHWISE
    }
    assert len(guilty) == 16
    assert set(before[:16]) == guilty
    assert len(guilty & set(after[:16])) <= 10  # 9.8 of 26 by chance


def test_chunks_that_finished_out_of_order_change_no_bit(tmp_path: Path) -> None:
    it, store = case("kitchen"), RunStore(tmp_path)
    asked = sweep(memory_bytes=CHUNKS_OF_FOUR)
    answers(replace(it, data=it.data.subset(range(4, 8))), asked, store)
    rest, alone = answers(it, asked, store), answers(it, asked)
    assert rest.scores == alone.scores
    assert rest.forwards < alone.forwards


def test_all_but_one_starts_with_the_layers_whose_return_gives_back_most() -> None:
    it = case("kitchen")
    asked = sweep(View.ALL_BUT, bits=(3,))
    found = drain_steps(rank_layers_worst_first(it.study(), asked))
    few = it.data.first(SCREENED_IMAGES)
    screened = drain_steps(screen_layers(Study(it.network, few, calibrated=it.calibrated), asked))
    best: dict[str, float] = {}
    for score in screened.scores:
        whole = next(w for w in screened.whole if w.question.side is score.question.side)
        gain = score.sqnr_db - whole.sqnr_db
        best[score.question.layer] = max(gain, best.get(score.question.layer, -math.inf))
    assert [best[name] for name in found] == sorted(best.values(), reverse=True)
    assert len(set(best.values())) > 2
