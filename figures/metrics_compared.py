"""Measures of the same layers side by side: where they disagree, one of them misleads."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.harm import HIGHER_IS_BETTER, Metric, at, guilt_of, interval_of, measurable, value_of
from analysis.measures import spearman
from analysis.questions import Score, Sensitivity
from figures.layout import escape, finish, shorten
from figures.palette import FLOAT
from figures.sensitivity import SIDE_COLOR, axis_title, describe, where

PLOT_PX = 320
NAMED = 3
FAR = 0.3  # of the largest value; names of points nearer to zero would cover each other
FEW = 1 / 3  # of the tensors: then a correlation would be one of noise
ALIKE, RELATED = 0.85, 0.5


def noise_against_harm(found: Sensitivity, metric: Metric, bits: int) -> go.Figure:
    """Return the output's SQNR over another metric, a point for each layer and side."""
    pairs = [
        (score, x, y)
        for side in found.sweep.sides
        for score in at(found, side, bits)
        if (x := _finite(score, Metric.SQNR)) is not None
        and (y := _finite(score, metric)) is not None
    ]
    figure = go.Figure()
    for side in dict.fromkeys(str(score.question.side) for score, _, _ in pairs):
        mine = [pair for pair in pairs if pair[0].question.side == side]
        _add_points(figure, side, mine, metric)
    figure.update_xaxes(title=axis_title(Metric.SQNR))
    figure.update_yaxes(title=axis_title(metric))
    # harm grows to the right and upwards in both axes, or the correlation would read backwards
    flip = 1 if metric in HIGHER_IS_BETTER else -1
    rho = spearman([x for _, x, _ in pairs], [flip * y for _, _, y in pairs])
    seen = sum(measurable(found, score) for score, _, _ in pairs)
    if metric in (Metric.ACCURACY, Metric.AGREEMENT) and pairs and seen < FEW * len(pairs):
        name = _short(metric).capitalize()
        few = f"{seen} of {len(pairs)} tensors at {bits} bits"
        title = f"{name} sees harm in {few}; SQNR ranks them all"
    else:
        title = f"{_verdict(rho, 'SQNR', _short(metric))} at {bits} bits"
    return finish(figure, title, PLOT_PX, legend_below=True)


def views_against(
    only: Sensitivity, all_but: Sensitivity, metric: Metric, side: str, bits: int
) -> go.Figure:
    """Return what a layer costs alone over what its return to float gives back to the rest."""
    freed = {score.question.layer: score for score in at(all_but, side, bits)}
    pairs = []
    for score in at(only, side, bits):
        other = freed.get(score.question.layer)
        x = guilt_of(only, score, metric)
        y = None if other is None else guilt_of(all_but, other, metric)
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y):
            pairs.append((score, -x if metric in HIGHER_IS_BETTER else x, y))
    figure = go.Figure()
    _add_points(figure, side, pairs, None)
    unit = axis_title(metric)
    figure.update_xaxes(title=f"Alone quantized: {unit[0].lower()}{unit[1:]}")
    figure.update_yaxes(title=f"Given back when alone in float ({_unit(metric)}), high is guilty")
    figure.add_hline(y=0, line={"color": FLOAT, "width": 1})
    flip = -1 if metric in HIGHER_IS_BETTER else 1
    rho = spearman([flip * x for _, x, _ in pairs], [y for _, _, y in pairs])
    title = f"{_verdict(rho, 'Only one', 'all but one')} with {where(side, bits)}"
    return finish(figure, title, PLOT_PX)


def _finite(score: Score, metric: Metric) -> float | None:
    value = value_of(score, metric)
    return value if value is not None and math.isfinite(value) else None


def _short(metric: Metric) -> str:
    return {Metric.ACCURACY: "accuracy", Metric.AGREEMENT: "agreement"}.get(metric, str(metric))


def _unit(metric: Metric) -> str:
    return axis_title(metric).partition("(")[2].partition(")")[0]


def _verdict(rho: float | None, first: str, second: str) -> str:
    if rho is None:
        return f"{first} and {second}: too little is known to compare"
    number = f"(Spearman {rho:.2f})"
    if rho >= ALIKE:
        return f"{first} and {second} rank the layers alike {number}"
    if rho >= RELATED:
        return f"{first} and {second} agree in the rough only {number}"
    return f"{first} and {second} disagree about the layers {number}"


def _add_points(
    figure: go.Figure,
    side: str,
    pairs: Sequence[tuple[Score, float, float]],
    errors: Metric | None,
) -> None:
    """Add the points of a side; those that stand out upwards are named."""
    top = max((abs(y) for _, _, y in pairs), default=0.0)
    far = [pair for pair in pairs if abs(pair[2]) >= FAR * top]
    named = sorted(far, key=lambda pair: -abs(pair[2]))[:NAMED]
    spreads = [interval_of(s, errors) if errors else None for s, _, _ in pairs]
    figure.add_scatter(
        name=side.capitalize(), mode="markers+text",
        x=[x for _, x, _ in pairs], y=[y for _, _, y in pairs],
        error_y={
            "type": "data", "symmetric": False, "thickness": 1, "width": 3,
            "color": SIDE_COLOR[side],
            "array": [i.high - y if i else 0.0
                      for i, (_, _, y) in zip(spreads, pairs, strict=True)],
            "arrayminus": [y - i.low if i else 0.0
                           for i, (_, _, y) in zip(spreads, pairs, strict=True)],
        },
        marker={"color": SIDE_COLOR[side], "size": 9, "opacity": 0.85},
        unselected={"marker": {"opacity": 0.85}},
        text=[escape(shorten(p[0].question.layer, 18)) if p in named else "" for p in pairs],
        textposition="middle right", cliponaxis=False,
        customdata=[
            [s.question.layer, s.question.bits, str(s.question.side), describe(s)]
            for s, _, _ in pairs
        ],
        hovertemplate="%{customdata[3]}<extra></extra>",
    )  # fmt: skip
