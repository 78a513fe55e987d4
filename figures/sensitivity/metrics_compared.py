"""Two metrics of the layers compared; a disagreement means that a metric misleads."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.evaluation.measures import spearman_correlation
from analysis.sensitivity.ranking import (
    HIGHER_IS_BETTER,
    HarmMetric,
    cost_of_layer,
    describes_return_to_float,
    is_harm_measurable,
    scores_at_width,
    shown_layer_value,
)
from analysis.sensitivity.sweep import CellScore, Sensitivity
from figures.sensitivity.ranking import SIDE_COLOR, error_bars, point_data
from figures.sensitivity.wording import axis_title, cell_text, shown_title
from figures.style.layout import HALF_WIDTH, escape_markup, finish_figure, shorten_name
from figures.style.palette import FLOAT, with_opacity

PLOT_PX = 320
NAMED = 3
FAR = 0.3  # share of the spread away from the middle; names of nearer points overlap
FEW = 1 / 3  # share of the tensors; below it a correlation is noise
ALIKE, RELATED = 0.85, 0.5


def noise_against_harm(found: Sensitivity, metric: HarmMetric, bits: int) -> go.Figure:
    """Return the output's SQNR over a second metric, with a point for each layer and side."""
    pairs = [
        (score, x, y)
        for side in found.sweep.sides
        for score in scores_at_width(found, side, bits)
        if (x := _finite_value(found, score, HarmMetric.SQNR)) is not None
        and (y := _finite_value(found, score, metric)) is not None
    ]
    figure = go.Figure()
    for side in dict.fromkeys(str(score.question.side) for score, _, _ in pairs):
        mine = [pair for pair in pairs if pair[0].question.side == side]
        faint = with_opacity(SIDE_COLOR[side], 0.4)  # the names of points lie over the bars
        errors = error_bars(found, _pair_scores(mine), metric, faint)
        _add_side_points(figure, side, mine, errors, found.noun)
    figure.update_xaxes(title=shown_title(found, HarmMetric.SQNR))
    figure.update_yaxes(title=shown_title(found, metric, breaks=True))
    seen = sum(is_harm_measurable(found, score) for score, _, _ in pairs)
    name = _short_name(metric)
    if pairs and seen < FEW * len(pairs):
        what = "gain" if describes_return_to_float(found) else "harm"
        few = f"{seen} of {len(pairs)} tensors at {bits} bits"
        title = f"{name.capitalize()} sees {what} in {few}; SQNR ranks them all"
    else:
        flip = 1 if describes_return_to_float(found) or metric in HIGHER_IS_BETTER else -1
        rho = spearman_correlation([x for _, x, _ in pairs], [flip * y for _, _, y in pairs])
        title = f"{_agreement_verdict(rho, 'SQNR', name)} at {bits} bits"
    return finish_figure(figure, title, PLOT_PX, legend_below=True, title_width=HALF_WIDTH)


def views_against(
    only: Sensitivity, all_but: Sensitivity, metric: HarmMetric, side: str, bits: int
) -> go.Figure:
    """Return the harm of each layer alone over the gain from the layer's return to float."""
    freed = {score.question.layer: score for score in scores_at_width(all_but, side, bits)}
    pairs = []
    for score in scores_at_width(only, side, bits):
        other = freed.get(score.question.layer)
        x = cost_of_layer(only, score, metric)
        y = None if other is None else cost_of_layer(all_but, other, metric)
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y):
            pairs.append((score, -x if metric in HIGHER_IS_BETTER else x, y))
    figure = go.Figure()
    _add_side_points(figure, side, pairs, None, only.noun)
    unit = axis_title(metric)
    figure.update_xaxes(title=f"Alone quantized: {unit[0].lower()}{unit[1:]}")
    figure.update_yaxes(title=shown_title(all_but, metric, breaks=True))
    figure.add_hline(y=0, line={"color": FLOAT, "width": 1})
    flip = -1 if metric in HIGHER_IS_BETTER else 1
    rho = spearman_correlation([flip * x for _, x, _ in pairs], [y for _, _, y in pairs])
    title = f"{_agreement_verdict(rho, 'Only one', 'all but one')} with {cell_text(side, bits)}"
    return finish_figure(figure, title, PLOT_PX, title_width=HALF_WIDTH)


def _pair_scores(pairs: Sequence[tuple[CellScore, float, float]]) -> list[CellScore]:
    return [score for score, _, _ in pairs]


def _finite_value(found: Sensitivity, score: CellScore, metric: HarmMetric) -> float | None:
    value = shown_layer_value(found, score, metric)
    return value if value is not None and math.isfinite(value) else None


def _short_name(metric: HarmMetric) -> str:
    return {HarmMetric.ACCURACY: "accuracy", HarmMetric.AGREEMENT: "agreement"}.get(
        metric, str(metric)
    )


def _agreement_verdict(rho: float | None, first: str, second: str) -> str:
    if rho is None:
        return f"{first} and {second}: too little is known to compare"
    number = f"(Spearman {rho:.2f})"
    if rho >= ALIKE:
        return f"{first} and {second} rank the layers alike {number}"
    if rho >= RELATED:
        return f"{first} and {second} agree in the rough only {number}"
    return f"{first} and {second} disagree about the layers {number}"


def _add_side_points(
    figure: go.Figure,
    side: str,
    pairs: Sequence[tuple[CellScore, float, float]],
    errors: dict[str, object] | None,
    noun: str,
) -> None:
    """Add the points of a side; outliers have names."""
    heights = sorted(y for _, _, y in pairs)
    middle = heights[len(heights) // 2] if heights else 0.0
    spread = heights[-1] - heights[0] if heights else 0.0
    far = [p for p in pairs if spread and abs(p[2] - middle) >= FAR * spread]
    named = sorted(far, key=lambda pair: -abs(pair[2] - middle))[:NAMED]
    figure.add_scatter(
        name=side.capitalize(),
        mode="markers+text",
        x=[x for _, x, _ in pairs],
        y=[y for _, _, y in pairs],
        error_y=errors,
        marker={"color": SIDE_COLOR[side], "size": 9, "opacity": 0.85},
        unselected={"marker": {"opacity": 0.85}},
        text=[
            escape_markup(shorten_name(p[0].question.layer, 24)) if p in named else ""
            for p in pairs
        ],
        textposition=[_towards_middle(x, pairs) for _, x, _ in pairs],
        cliponaxis=False,
        customdata=[point_data(score, noun) for score in _pair_scores(pairs)],
        hovertemplate="%{customdata[3]}<extra></extra>",
    )


def _towards_middle(x: float, pairs: Sequence[tuple[CellScore, float, float]]) -> str:
    """Return a text position towards the middle of the plot, so that the edge cuts no name."""
    places = [place for _, place, _ in pairs]
    return "middle right" if x <= (min(places) + max(places)) / 2 else "middle left"
