"""The verdict on runs made by hand: each level, what decides it, and the next steps."""

import math
import re
from dataclasses import replace

import pytest
from scipy.stats import binom

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.intervals import paired_interval
from analysis.runs.compare_runs import with_distinct_names
from analysis.runs.run_store import Run, SideLoss
from analysis.runs.verdict import Level, Place, judge_run, loses_much_accuracy
from quant.config import uniform_config
from quant.simulation.plan import Side
from tests.analysis.results import evaluation, report, run, unlabelled


def scored(score: Evaluation, *recipe: str) -> Run:
    return run("tried", report(), score, recipe=recipe)


@pytest.mark.parametrize(
    ("score", "level", "start"),
    [
        (evaluation(5, 4, 10_000, 9000), Level.DEPLOYABLE, "Lost 0.01 points of top-1 (95 %: "),
        (evaluation(4, 9, 1000), Level.DEPLOYABLE, "Gained 0.50 points of top-1 (loss, 95 %: "),
        (evaluation(12, 4, 1000), Level.UNDECIDED, "Lost 0.80 points of top-1 (95 %: "),
        (evaluation(60, 10, 1000), Level.REPAIR_FIRST, "Lost 5.0 points of top-1 (95 %: "),
        (evaluation(800, 4, 1000), Level.NOT_DEPLOYABLE, "Lost 79.6 points of top-1 (95 %: "),
        (
            unlabelled(999),
            Level.DEPLOYABLE,
            "Without labels: answers as the float network does on ",
        ),
        (unlabelled(990), Level.UNDECIDED, "Without labels: "),
        (unlabelled(950), Level.REPAIR_FIRST, "Without labels: "),
        (unlabelled(300), Level.NOT_DEPLOYABLE, "Without labels: "),
    ],
)
def test_a_loss_has_a_level_and_a_sentence(score: Evaluation, level: Level, start: str) -> None:
    found = judge_run(scored(score))
    assert found.level is level
    assert found.sentence.startswith(start)
    assert f": {level}." in found.sentence


def test_the_images_that_decide_do_so_with_the_same_losses() -> None:
    sentence = judge_run(scored(evaluation(12, 4, 1000))).sentence
    images = int(re.findall(r"About (\d+) images", sentence)[0])

    def upper(count: int) -> float:
        share = count / 1000
        return paired_interval(12 * share, 4 * share, count).high

    assert upper(images) <= 0.01 < upper(int(0.8 * images))


def test_a_loss_of_one_point_is_decided_by_no_number_of_images() -> None:
    assert judge_run(scored(evaluation(12, 2, 1000))).sentence.endswith(
        "too close to one point for more data to decide."
    )


def test_a_network_at_chance_is_not_deployable_though_it_loses_few_points() -> None:
    score = evaluation(lost=180, won=0, samples=1000, hits=680)
    assert judge_run(scored(score), classes=2).level is Level.NOT_DEPLOYABLE
    assert "no better than chance" in judge_run(scored(score), classes=2).sentence
    assert judge_run(scored(score), classes=10).level is Level.REPAIR_FIRST


def test_a_float_network_at_chance_lets_nothing_be_judged() -> None:
    found = judge_run(scored(evaluation(0, 0, 1000, 101)), classes=10)
    assert found.level is Level.UNDECIDED
    assert [step.place for step in found.steps] == [Place.MODEL]


def test_exact_outputs_need_no_number_of_images() -> None:
    score = replace(evaluation(samples=20, hits=18), sqnr_db=math.inf)
    assert judge_run(scored(score)).level is Level.DEPLOYABLE


def test_outputs_without_classes_are_left_to_the_person() -> None:
    found = judge_run(scored(replace(unlabelled(500), classes=False)))
    assert found.level is Level.UNDECIDED
    assert "20.0 dB" in found.sentence
    assert found.steps[0].place is Place.SENSITIVITY


@pytest.mark.parametrize(
    ("score", "recipe", "places"),
    [
        (evaluation(), (), [Place.EXPORT, Place.TRADEOFFS]),
        (evaluation(60, 10), (), [Place.REPAIR, Place.SENSITIVITY, Place.TRADEOFFS]),
        (evaluation(60, 10), ("Equalize",), [Place.TRADEOFFS, Place.SENSITIVITY]),
        (evaluation(12, 4), (), [Place.MODEL, Place.REPAIR, Place.SENSITIVITY]),
    ],
)
def test_the_next_steps_follow_from_loss_and_recipe(
    score: Evaluation, recipe: tuple[str, ...], places: list[Place]
) -> None:
    assert [step.place for step in judge_run(scored(score, *recipe)).steps] == places


def test_sides_are_named_only_where_runs_have_measured_them() -> None:
    def tried(weight_bits: int, activation_bits: int, lost: int) -> Run:
        config = uniform_config(weight_bits, activation_bits).to_dict()
        return run("tried", report(), evaluation(lost), config=config)

    both, weights, activations = tried(4, 8, 796), tried(4, 32, 780), tried(32, 8, 20)
    assert "alone" not in judge_run(both).sentence
    assert "alone" not in judge_run(both, others=(both, tried(2, 32, 1), tried(32, 4, 1))).sentence
    found = judge_run(both, others=(both, weights, activations)).sentence
    assert "; weights alone lose 78.0 points, activations alone lose 2.0 points." in found
    assert "alone" not in judge_run(both, others=(replace(weights, data_digest="other"),)).sentence


def test_a_run_that_lost_more_than_a_point_is_told_from_one_that_did_not() -> None:
    assert loses_much_accuracy(scored(evaluation(60, 10)))
    assert loses_much_accuracy(scored(unlabelled(950)))
    assert not loses_much_accuracy(scored(evaluation(5, 4)))
    assert not loses_much_accuracy(scored(unlabelled(999)))


def test_runs_of_one_name_are_told_apart_by_time() -> None:
    first = run("W8A8", report(), created="2026-11-29T08:00:00+00:00")
    second = replace(first, created="2026-11-29T09:30:00+00:00")
    before, after = with_distinct_names(first, second)
    assert (before.name, after.name) == ("W8A8 (2026-11-29 08:00:00)", "W8A8 (2026-11-29 09:30:00)")
    same = with_distinct_names(first, first)
    assert same[0].name != same[1].name
    other = replace(second, name="W4A8")
    assert with_distinct_names(first, other) == (first, other)


def chance_of_level(n: int, drop: float, changed: float, level: Level) -> float:
    """Return the exact chance of a level: the sum over all counts of lost and won images."""
    chance = 0.0
    for count in range(n + 1):
        weight = binom.pmf(count, n, changed)
        if weight < 1e-6:
            continue
        shares = weight * binom.pmf(range(count + 1), count, (changed + drop) / 2 / changed)
        for lost, share in enumerate(shares.tolist()):
            if share > 1e-6:
                score = evaluation(lost, count - lost, n, n - 40)
                chance += share * (judge_run(scored(score)).level is level)
    return chance


@pytest.mark.parametrize(("n", "changed"), [(200, 0.0101), (200, 0.03), (64, 0.02)])
def test_a_loss_of_one_point_is_seldom_called_deployable_or_too_large(
    n: int, changed: float
) -> None:
    """By Agresti and Min's interval, 13 % of 200 images that lose 1 % were called deployable."""
    assert chance_of_level(n, 0.01, changed, Level.DEPLOYABLE) <= 0.026
    assert chance_of_level(n, 0.01, changed, Level.REPAIR_FIRST) <= 0.03


def test_without_labels_a_changed_share_of_one_percent_is_seldom_too_large() -> None:
    """By Wilson's interval one changed answer of 17 was called a loss, in 16 % of trials."""
    for n in (17, 40, 400):
        chances = binom.pmf(range(n + 1), n, 0.01)
        levels = [judge_run(scored(unlabelled(n - k, n))).level for k in range(n + 1)]
        for level in (Level.DEPLOYABLE, Level.REPAIR_FIRST):
            assert sum(p for p, at in zip(chances, levels, strict=True) if at is level) <= 0.026


def side_losses(images: int, unit: str) -> tuple[SideLoss, ...]:
    return (
        SideLoss(Side.WEIGHTS, 78.04, None, unit, images),
        SideLoss(Side.ACTIVATIONS, 2.0, None, unit, images),
    )


def test_a_bad_run_tells_what_each_side_costs_and_on_how_many_images() -> None:
    bad = scored(evaluation(800, 4, 1000))
    told = judge_run(replace(bad, sides=side_losses(512, "points of top-1"))).sentence
    assert told.endswith(
        ": not deployable; weights alone lose 78.0 points of top-1, activations alone 2.0 "
        "(on 512 of the data)."
    )
    whole = judge_run(replace(bad, sides=side_losses(1000, "points of top-1"))).sentence
    assert whole.endswith("activations alone 2.0.")
    answers = replace(scored(unlabelled(300)), sides=side_losses(512, "% of the answers"))
    assert "; weights alone lose 78.0 % of the answers, activations" in judge_run(answers).sentence


def test_the_side_that_loses_more_comes_first_where_the_other_gains_by_chance() -> None:
    bad = scored(evaluation(800, 4, 1000))
    sides = (
        SideLoss(Side.WEIGHTS, -0.1, None, "points of mAP", 1000),
        SideLoss(Side.ACTIVATIONS, 13.8, None, "points of mAP", 1000),
    )
    assert judge_run(replace(bad, sides=sides)).sentence.endswith(
        "; activations alone lose 13.8 points of mAP, weights alone -0.1."
    )
