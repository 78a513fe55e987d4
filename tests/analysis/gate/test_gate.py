"""Conditions in words, and what a run comes to: simulated outcomes, without a network."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.image_answers import ImageAnswers, pack_bits
from analysis.evaluation.measures import Interval
from analysis.gate.condition import Measure, read_condition
from analysis.gate.decide import Decision, GateOutcome, check_run, join_outcomes
from analysis.gate.decide_between import decide_between
from analysis.runs.run_store import Run
from quant.errors import ConfigError, QuantError
from tests.analysis.results import evaluation, layer_cost, metric_score, report, run

Flags = NDArray[np.bool_]


def scored(before: Flags, after: Flags) -> Evaluation:
    """The evaluation of a float network that was right `before` and a quantized one `after`."""
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    made = evaluation(lost, won, len(before), int(before.sum()))
    answers = ImageAnswers(pack_bits(before == after), pack_bits(before), pack_bits(after))
    return replace(made, answers=answers, sqnr_ci95=Interval(19.0, 21.0))


def outcomes_of(lost: float, won: float, count: int, generator: np.random.Generator) -> Run:
    """A run in which each image is lost or won by chance."""
    drawn = generator.random(count)
    before = drawn < 0.9
    after = before & (drawn >= lost) | (drawn >= 1 - won)
    return run("tried", report(layer_cost("a")), scored(before, after))


def decide_one(text: str, checked: Run, against: Run | None = None) -> Decision:
    return check_run(checked, [read_condition(text)], against)[0]


@pytest.mark.parametrize(
    ("text", "measure", "limit"),
    [
        ("drop > 0.5", Measure.DROP, 0.005),
        ("top-1 drop >= 1 %", Measure.DROP, 0.01),
        ("top1 < 90", Measure.TOP1, 0.9),
        ("agreement<98.5 %", Measure.AGREEMENT, 0.985),
        ("sqnr < 20 dB", Measure.SQNR, 20.0),
        ("energy > 1.2 mJ", Measure.ENERGY, 1.2e9),
        ("latency > 3e2 us", Measure.LATENCY, 3e-4),
        ("size > 2 MiB", Measure.SIZE, 2.0 * 2**20),
        ("peak memory > 64 kB", Measure.MEMORY, 64e3),
        ("energy > 1.1 x", Measure.ENERGY, 1.1),
    ],
)
def test_conditions_are_read_in_their_units(text: str, measure: Measure, limit: float) -> None:
    found = read_condition(text)
    assert found.measure is measure
    assert found.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("drop", "must be a measure, one of"),
        ("colour > 3", "must be about one of drop, top1"),
        ("energy > 1.2", "needs a unit of pJ, nJ"),
        ("energy > 1.2 dB", "got dB"),
        ("drop > 1.2.3", "must be a number"),
        ("drop > 2 x", "needs a unit of points"),
        ("top1 < 0.9", "Write 'top1 < 90 %', or '0.9 %'"),
    ],
)
def test_what_is_no_condition_is_told(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_condition(text)


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_few_of_200_null_comparisons_are_false_alarms(limit: float) -> None:
    """The true drop is the limit: a gate that stops then is wrong, in at most 5 % of trials."""
    generator = np.random.default_rng(7)
    alarms = passes = 0
    for trial in range(200):
        count = [32, 64, 128, 256, 500][trial % 5]
        checked = outcomes_of(0.04 + limit / 100, 0.04, count, generator)
        outcome = decide_one(f"drop > {limit}", checked).outcome
        alarms += outcome is GateOutcome.BROKEN
        passes += outcome is GateOutcome.HOLDS
    assert alarms <= 10
    assert passes <= 10


def test_a_detectable_drop_is_found_in_about_80_percent() -> None:
    generator = np.random.default_rng(3)
    first = decide_one("drop > 0.5", outcomes_of(0.05, 0.02, 500, generator))
    assert first.detectable is not None
    lost = 0.02 + first.detectable
    found = [
        decide_one("drop > 0.5", outcomes_of(lost, 0.02, 500, generator)).outcome
        for _ in range(150)
    ]
    assert 0.65 <= found.count(GateOutcome.BROKEN) / 150 <= 0.95


def test_more_images_decide_what_few_leave_open() -> None:
    generator = np.random.default_rng(1)
    few = decide_one("drop > 3", outcomes_of(0.02, 0.01, 100, generator))
    assert few.outcome is GateOutcome.UNDECIDED
    assert few.more_images is not None
    assert f"About {few.more_images} images more would decide." in few.decision_sentence
    many = outcomes_of(0.02, 0.01, 2 * (100 + few.more_images), generator)
    assert decide_one("drop > 3", many).outcome is GateOutcome.HOLDS


def test_costs_are_decided_without_chance() -> None:
    cost = report(layer_cost("a", 1500.0), weight_bytes=2048)
    checked = run("tried", cost)
    texts = {"energy > 1.2 nJ": GateOutcome.BROKEN, "size > 2 KiB": GateOutcome.HOLDS,
             "size >= 2 KiB": GateOutcome.BROKEN, "latency < 1 ns": GateOutcome.HOLDS}  # fmt: skip
    for text, outcome in texts.items():
        assert decide_one(text, checked).outcome is outcome, text
    assert "energy is 1.5 nJ" in decide_one("energy > 1.2 nJ", checked).decision_sentence
    against = run("before", report(layer_cost("a", 1000.0)))
    assert decide_one("energy > 1.4 x", checked, against).outcome is GateOutcome.BROKEN
    with pytest.raises(QuantError, match="Name the run with --against"):
        decide_one("energy > 1.4 x", checked)


def test_a_drop_against_another_run_counts_pairs_of_images() -> None:
    """Both lose the same images: beside the float network the drop is large, beside it none."""
    right = np.arange(1000) % 10 > 0
    weak = right & (np.arange(1000) % 13 > 0)
    old, new = (run(name, report(), scored(right, weak)) for name in ("old", "new"))
    assert decide_one("drop > 2", new).outcome is GateOutcome.BROKEN
    found = decide_one("drop > 2", new, old)
    assert (found.outcome, found.value) == (GateOutcome.HOLDS, 0.0)
    with pytest.raises(QuantError, match="needs the same network and data"):
        decide_one("drop > 2", new, replace(old, data_digest="other"))
    with pytest.raises(QuantError, match="older version"):
        decide_one("drop > 2", new, replace(old, evaluation=evaluation(samples=1000)))


def test_sqnr_and_metric_have_the_interval_of_the_run() -> None:
    right = np.ones(100, bool)
    metric = metric_score("mIoU", 0.8, 0.7, (-0.12, -0.08), share=False)
    score = replace(scored(right, right), metric=metric)
    checked = run("tried", report(), score)
    assert decide_one("sqnr < 18 dB", checked).outcome is GateOutcome.HOLDS
    assert decide_one("sqnr < 20.5 dB", checked).outcome is GateOutcome.UNDECIDED
    assert decide_one("loss > 0.05", checked).outcome is GateOutcome.BROKEN
    assert decide_one("metric < 0.75", checked).outcome is GateOutcome.BROKEN  # no interval
    exact = run("exact", report(), replace(score, sqnr_db=math.inf, sqnr_ci95=None))
    assert decide_one("sqnr < 18 dB", exact).outcome is GateOutcome.HOLDS


def test_several_conditions_share_the_confidence() -> None:
    right = np.ones(100, bool)
    checked = run("tried", report(layer_cost("a")), scored(right, right))
    texts = ("drop > 5", "sqnr < 18 dB", "energy > 9 mJ")
    found = check_run(checked, [read_condition(text) for text in texts])
    assert [round(one.confidence, 4) for one in found] == [0.975] * 3
    assert join_outcomes(found) is GateOutcome.HOLDS
    assert join_outcomes([replace(found[0], outcome=GateOutcome.UNDECIDED), found[1]]) is (
        GateOutcome.UNDECIDED
    )
    with pytest.raises(ConfigError, match="at least 50 %"):
        check_run(checked, [read_condition("drop > 5")], confidence=0.2)


def test_a_drop_where_the_task_has_another_metric_is_in_points_of_it() -> None:
    detected = metric_score("mAP", 0.60, 0.57, (-0.04, -0.02))
    score = replace(
        evaluation(samples=200),
        float_top1=None,
        quantized_top1=None,
        classes=False,
        metric=detected,
    )
    checked = run("tried", report(), score)
    assert decide_one("drop > 1", checked).outcome is GateOutcome.BROKEN
    assert decide_one("drop > 3", checked).outcome is GateOutcome.UNDECIDED
    assert decide_one("drop > 5 points", checked).outcome is GateOutcome.HOLDS
    with pytest.raises(QuantError, match="mAP compares with the float network only"):
        decide_one("drop > 1", checked, checked)
    error = replace(score, metric=replace(detected, name="MAE", share=False))
    with pytest.raises(QuantError, match="MAE is none"):
        decide_one("drop > 1", run("tried", report(), error))


def test_rows_of_a_table_are_called_rows() -> None:
    dice = np.random.default_rng(0)
    images = outcomes_of(0.05, 0.0, 100, dice)
    rows = replace(images, cost=replace(images.cost, noun="row"))
    assert decide_one("drop > 5", images).decision_sentence.endswith(" images more would decide.")
    told = decide_one("drop > 5", rows).decision_sentence
    assert "100 rows)" in told
    assert told.endswith(" rows more would decide.")
    better = decide_between(rows, run("other", rows.cost, images.evaluation)).sentence
    assert "100 rows)" in better
