"""The simulation beside execution: titles tell the truth, points stand where the values are."""

import math
from dataclasses import replace
from typing import Any

import pytest

from analysis.deployment.runtime_check import ExecutionCheck, Latency, RuntimeAgreement, Top1Score
from analysis.evaluation.measures import Interval
from figures.quality.runtime_check import integer_words, partings_by_layer, scores_side_by_side

SPAN = Interval(0.8, 0.95)
LAYERS = {"stem": math.inf, "<b>mid</b>": 52.0, "head": 31.5}


def check(**more: Any) -> ExecutionCheck:
    made = ExecutionCheck(
        samples=200,
        executed=RuntimeAgreement(40.0, 0.99, SPAN),
        plain=RuntimeAgreement(60.0, 1.0, Interval(0.98, 1.0)),
        scores={name: Top1Score(0.9, SPAN) for name in ("float", "simulated", "executed", "plain")},
        layer_sqnr_db=LAYERS,
        worst_layer="head",
        partings=(),
        integer_layers=("stem", "head"),
        latency=Latency(2e-3, 1e-3, 50, 1, 1),
    )
    return replace(made, **more)


def title(figure: Any) -> str:
    return str(figure.layout.title.text).replace("<br>", " ")


def test_scores_with_intervals() -> None:
    figure = scores_side_by_side(check())
    assert [trace.x[0] for trace in figure.data] == [90.0] * 4
    assert figure.data[0].error_x.array[0] == pytest.approx(5.0)
    assert title(figure) == "Execution answers otherwise than the simulation on 2 of 200 images"
    assert "Top-1" in figure.layout.xaxis.title.text


def test_without_labels_agreement_takes_accuracys_place() -> None:
    figure = scores_side_by_side(check(scores={}))
    assert [trace.x[0] for trace in figure.data] == [99.0, 100.0]
    assert "Same answer as the simulation" in figure.layout.xaxis.title.text


def test_no_classifier_has_no_score() -> None:
    with pytest.raises(ValueError, match="SQNR"):
        scores_side_by_side(
            check(scores={}, executed=RuntimeAgreement(40.0), plain=RuntimeAgreement(60.0))
        )


def test_where_they_part() -> None:
    figure = partings_by_layer(LAYERS)
    assert "head is least alike, 31.5 dB beside the simulation; both part first at" in title(figure)
    assert list(figure.data[0].x) == [52.0, 31.5]
    assert list(figure.data[1].y) == [0]
    assert "&lt;b&gt;mid" in figure.data[0].customdata[0]
    assert "to the bit" in title(partings_by_layer({"stem": math.inf}))


@pytest.mark.parametrize(
    ("weighted", "said"),
    [
        (("stem", "head"), "All 2 layers"),
        (("stem", "mid", "head"), "One of 3 layers with weights run in float"),
        (("mid",), "No layer is multiplied in whole numbers"),
    ],
)
def test_what_runs_in_whole_numbers(weighted: tuple[str, ...], said: str) -> None:
    assert said in integer_words(check(), weighted)
