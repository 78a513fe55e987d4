"""The score that is told: the metric, top-1, agreement or SQNR; several in one measure."""

import math
from dataclasses import replace

import pytest

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.measures import Interval
from analysis.evaluation.score_change import score_change_clause
from analysis.evaluation.told_score import (
    ScoreMeasure,
    ScoreUnit,
    ToldScore,
    told_score,
    told_scores,
    unequal_measures_sentence,
)
from analysis.evaluation.user_metric import MetricScore
from analysis.runs.json_values import plain_from_result, result_from_plain
from tests.analysis.results import evaluation, unlabelled


def with_map(value: float = 0.8, low: float = -0.12, high: float = -0.08) -> Evaluation:
    """A detector with mAP 0.9 in float; `low` and `high` are the ends of the paired change."""
    metric = MetricScore(
        "mAP", higher_is_better=True, float_value=0.9, quantized_value=value,
        change=value - 0.9, quantized_ci95=Interval(value - 0.02, value + 0.02),
        change_ci95=Interval(low, high), share=True, task="detection",
    )  # fmt: skip
    return replace(unlabelled(700), classes=False, metric=metric)


def with_mae(value: float, low: float, high: float) -> Evaluation:
    """A regression with MAE 0.0123 in float."""
    metric = MetricScore(
        "MAE", higher_is_better=False, float_value=0.0123, quantized_value=value,
        change=value - 0.0123, change_ci95=Interval(low, high),
    )  # fmt: skip
    return replace(unlabelled(700), classes=False, metric=metric)


def without_metric(score: Evaluation) -> Evaluation:
    return replace(score, metric=None)


@pytest.mark.parametrize(
    ("score", "measure", "text"),
    [
        (with_map(), ScoreMeasure.METRIC, "80.00 %"),
        (evaluation(20, 6), ScoreMeasure.TOP1, "88.60 %"),
        (unlabelled(985), ScoreMeasure.AGREEMENT, "98.50 %"),
        (without_metric(with_map()), ScoreMeasure.SQNR, "20.0 dB"),
        (with_mae(0.0123, 0, 0), ScoreMeasure.METRIC, "0.0123"),
    ],
)
def test_the_first_measure_that_is_there_is_told(
    score: Evaluation, measure: ScoreMeasure, text: str
) -> None:
    told = told_score(score)
    assert (told.measure, told.value_text) == (measure, text)


def test_unit_direction_interval_and_float_value_come_with_the_score() -> None:
    told = told_score(with_map())
    assert (told.unit_label, told.axis_title) == ("mAP %", "mAP (%), higher is better")
    assert told.interval_text == "95 % interval 78.00 to 82.00 %"
    assert told.interval_ends == "78.00 to 82.00 %"
    assert told.float_value == 0.9
    assert told.loss_interval == Interval(0.08, 0.12)
    assert told.loses_measurably
    worse = told_score(with_mae(0.02, 0.001, 0.01))
    assert worse.axis_title == "MAE, lower is better"
    assert worse.loss_interval == Interval(0.001, 0.01)
    assert worse.loses_measurably
    assert worse.gain_over(told_score(with_mae(0.03, 0, 0))) == pytest.approx(0.01)


def test_scores_of_different_measures_are_told_in_what_all_have() -> None:
    old, new = without_metric(with_map()), with_map()
    assert [one.measure for one in told_scores((old, new))] == [ScoreMeasure.SQNR] * 2
    assert [one.name for one in told_scores((new, new))] == ["mAP"] * 2
    other = told_scores((with_mae(0.02, 0, 0), new))
    assert [one.measure for one in other] == [ScoreMeasure.SQNR] * 2
    classes = told_scores((evaluation(20, 6), unlabelled(900)))
    assert [one.measure for one in classes] == [ScoreMeasure.AGREEMENT] * 2
    assert unequal_measures_sentence((old, new)) == (
        "Not every run was scored by mAP: compared is output SQNR, of all."
    )
    assert unequal_measures_sentence((new, new)) == ""
    with pytest.raises(ValueError, match="needs scores"):
        told_scores(())


@pytest.mark.parametrize(
    ("before", "after", "clause"),
    [
        (with_map(0.9, 0, 0), with_map(), "costs 10.0 points of mAP (95 % interval 8.0 to 12.0"),
        (with_map(), with_map(0.9, 0, 0), "gains 10.0 points of mAP (95 % interval 8.0 to 12.0"),
        (with_map(0.81), with_map(), "makes no measurable difference in mAP (95 % interval of"),
        (
            with_mae(0.0123, 0, 0),
            with_mae(0.0135, 0.0007, 0.0017),
            "raises MAE by 0.0012, to 0.0135 (95 % interval 0.0007 to 0.0017)",
        ),
        (without_metric(with_map()), with_map(), "makes no difference in the SQNR of the output"),
    ],
)
def test_two_scores_are_compared_in_their_measure(
    before: Evaluation, after: Evaluation, clause: str
) -> None:
    assert score_change_clause(before, after).startswith(clause)


def test_a_told_score_is_stored_and_read_back_without_loss() -> None:
    exact = replace(told_score(without_metric(with_map())), value=math.inf)
    assert exact.value_text == "exact"
    assert exact.is_same_value(math.inf)
    assert exact.gain_over(exact) == 0
    for told in (exact, told_score(with_mae(0.02, 0, 1))):
        assert result_from_plain(ToldScore, plain_from_result(told)) == told


def test_a_value_is_the_same_only_where_it_would_be_written_the_same() -> None:
    small = ToldScore(ScoreMeasure.METRIC, "MAE", 0.0123, ScoreUnit.OWN, higher_is_better=False)
    assert not small.is_same_value(0.0124)
    assert small.is_same_value(0.012301)
    assert small.step_text(-0.001) == "0.001 of MAE"
