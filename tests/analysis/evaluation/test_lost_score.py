"""The loss in the metric of a task: points, percent of an error, and the verdicts by it."""

from dataclasses import replace

import pytest

from analysis.diagnosis.flow.goal import Goal, Standing, loss_of, standing_of
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.lost_score import LostScore, lost_metric, lost_score, metric_value_text
from analysis.evaluation.measures import Interval
from analysis.evaluation.user_metric import MetricScore
from analysis.runs.json_values import plain_from_result, result_from_plain
from analysis.runs.verdict import Level, judge_run, loses_much_accuracy
from tests.analysis.results import evaluation, report, run, unlabelled

MAP = MetricScore(
    "mAP", True, 0.51, 0.479, -0.031, change_ci95=Interval(-0.04, -0.022), share=True,  # noqa: FBT003
    task="detection",
)  # fmt: skip


def scored(metric: MetricScore) -> Evaluation:
    return replace(unlabelled(500), classes=False, metric=metric)


def test_a_share_is_lost_in_points_with_the_ends_turned_round() -> None:
    found = lost_metric(MAP)
    assert found is not None
    assert found.points == pytest.approx(3.1)
    assert found.lost_text == "3.1 points of mAP (95 %: 2.2 to 4.0)"
    assert found.loss_sentence == "Lost 3.1 points of mAP (95 %: 2.2 to 4.0)"
    assert metric_value_text(MAP, 0.479) == "47.9 %"


def test_an_error_rises_in_percent_of_the_float_error() -> None:
    found = lost_metric(
        MetricScore("MAE", False, 2.0, 2.5, 0.5, change_ci95=Interval(0.25, 0.75))  # noqa: FBT003
    )
    assert found is not None
    assert found.lost_text == "25.0 % of the float MAE (95 %: 12.5 to 37.5)"
    assert lost_metric(MetricScore("MAE", False, 0.0, 0.5, 0.5)) is None  # noqa: FBT003


def test_a_gain_is_told_as_a_gain() -> None:
    sentence = LostScore(-1.5, Interval(-2.0, -1.0), "points of mIoU").loss_sentence
    assert sentence == "Gained 1.5 points of mIoU (95 %: 1.0 to 2.0)"


def test_top1_stays_where_no_task_has_a_metric() -> None:
    found = lost_score(evaluation())
    assert found is not None
    assert found.unit == "points of top-1"
    assert lost_score(unlabelled(500)) is None


@pytest.mark.parametrize(
    ("low", "high", "level"),
    [(2.2, 4.0, Level.REPAIR_FIRST), (0.1, 0.9, Level.DEPLOYABLE), (0.2, 1.5, Level.UNDECIDED)],
)
def test_the_verdict_goes_by_the_metric(low: float, high: float, level: Level) -> None:
    middle = (low + high) / 200
    ends = Interval(-high / 100, -low / 100)
    one = run("W8A8", report(), scored(replace(MAP, change=-middle, change_ci95=ends)))
    found = judge_run(one)
    assert found.level is level
    assert "points of mAP" in found.sentence
    assert loses_much_accuracy(one) == (middle > 0.01)
    # 0.85 +- 0.65 is below 1 with (0.65 / 0.15)^2 as many images
    assert ("would decide" in found.sentence) == (level is Level.UNDECIDED)


def test_a_diagnosis_holds_the_metric_to_its_goal() -> None:
    loss = loss_of(scored(MAP))
    assert loss.loss_text == "3.10 points of mAP (95 %: 2.20 to 4.00)"
    assert standing_of(loss, Goal(5.0)) is Standing.KEPT
    assert standing_of(loss, Goal(1.0)) is Standing.LOST


def test_a_run_keeps_the_metric_and_older_runs_are_read() -> None:
    plain = plain_from_result(MAP)
    assert result_from_plain(MetricScore, plain) == MAP
    for name in ("share", "task"):
        del plain[name]
    assert result_from_plain(MetricScore, plain) == replace(MAP, share=False, task="")
