"""Harm is larger the worse, whatever the metric; who is guilty in either view."""

import math
from dataclasses import replace

import pytest

from analysis.evaluation.measures import Interval
from analysis.sensitivity.ranking import (
    HarmMetric,
    available_metrics,
    cost_of_layer,
    fewest_harmful_layers,
    harm_in_metric,
    interval_in_metric,
    is_harm_measurable,
    merge_deepest_answers,
    rank_scores,
    shown_layer_interval,
    shown_layer_value,
    value_in_metric,
)
from analysis.sensitivity.sweep import Depth, View
from quant.simulation.plan import Side
from tests.figures.sensitivity_values import GUILTY, LAYERS, answers, score

W = Side.WEIGHTS


def names(found: object, metric: HarmMetric = HarmMetric.ACCURACY) -> list[str]:
    return [s.question.layer for s in rank_scores(found, metric, W, 4)]  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", list(HarmMetric))
def test_a_worse_answer_is_more_harm_in_every_metric(metric: HarmMetric) -> None:
    bad = replace(score("x", 0.3, sqnr=5.0), task_loss=4.0)
    good = replace(score("x", 0.1, sqnr=25.0), task_loss=1.0)
    worse, better = harm_in_metric(bad, metric), harm_in_metric(good, metric)
    assert worse is not None
    assert better is not None
    assert worse > better
    lost = [replace(one, task_loss=100 * (one.accuracy_drop or 0.0)) for one in GUILTY.scores]
    assert names(replace(GUILTY, scores=tuple(lost)), metric)[0] == "stem"


def test_shares_become_percent_with_their_intervals() -> None:
    found = score("x", 0.25, half=0.05)
    assert value_in_metric(found, HarmMetric.ACCURACY) == 25
    interval = interval_in_metric(found, HarmMetric.ACCURACY)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((20, 30))
    assert interval_in_metric(found, HarmMetric.KL) is None


def test_what_is_not_known_is_no_harm_of_zero() -> None:
    unlabelled = answers({"stem": None, "head": None})
    assert available_metrics(unlabelled) == [HarmMetric.SQNR, HarmMetric.KL, HarmMetric.AGREEMENT]
    assert rank_scores(unlabelled, HarmMetric.ACCURACY, W, 4) == []
    assert value_in_metric(replace(score("x", 0.1), sqnr_db=math.nan), HarmMetric.SQNR) is None


def test_of_all_but_one_the_guiltiest_gives_back_most() -> None:
    found = answers({"stem": 0.1, "head": 0.45}, view=View.ALL_BUT, whole=0.5)
    assert names(found) == ["stem", "head"]
    given = [cost_of_layer(found, s, HarmMetric.ACCURACY) for s in found.scores]
    assert given == pytest.approx([40, 5])
    without = replace(found, whole=())
    assert names(without) == ["stem", "head"]
    stem, head = found.scores
    assert is_harm_measurable(found, stem)
    assert is_harm_measurable(found, head)
    assert not is_harm_measurable(found, replace(head, accuracy_drop_ci95=Interval(0.4, 0.6)))
    assert not is_harm_measurable(without, stem)
    interval = shown_layer_interval(found, stem, HarmMetric.ACCURACY)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((38, 42))
    agreed = shown_layer_value(found, stem, HarmMetric.AGREEMENT)
    assert agreed == pytest.approx(40)
    assert shown_layer_value(without, stem, HarmMetric.ACCURACY) is None


def test_harm_is_measurable_where_the_interval_leaves_nothing_out() -> None:
    assert [is_harm_measurable(GUILTY, s) for s in GUILTY.scores] == [
        True,
        False,
        False,
        False,
        False,
    ]
    unlabelled = answers({"stem": None})
    assert not is_harm_measurable(unlabelled, unlabelled.scores[0])


def test_the_fewest_layers_with_most_of_the_harm() -> None:
    assert fewest_harmful_layers({"a": 50.0, "b": 40.0, "c": 10.0, "d": -5.0}) == ["a", "b"]
    assert fewest_harmful_layers({"a": 0.0}) == []


def test_deeper_answers_replace_and_others_fill_in() -> None:
    screened = answers(dict.fromkeys(LAYERS, 0.2), depth=Depth.SCREENING)
    exact = answers({"head": 0.1, "stem": 0.4})
    found = merge_deepest_answers(exact, screened, LAYERS)
    assert list(dict.fromkeys(s.question.layer for s in found.scores)) == list(LAYERS)
    assert [s.depth is Depth.EXACT for s in found.scores] == [True, False, False, False, True]
    assert found.depth is Depth.EXACT
    assert merge_deepest_answers(exact, None, LAYERS) is exact
