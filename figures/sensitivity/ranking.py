"""Layers with their harm and the 95 % interval: the most harmful first, and along the depth."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.sensitivity.ranking import (
    HarmMetric,
    describes_return_to_float,
    rank_scores,
    scores_at_width,
    shown_layer_interval,
    shown_layer_value,
)
from analysis.sensitivity.sweep import CellScore, Sensitivity
from figures.sensitivity.wording import depth_title, describe_score, harm_title, shown_title
from figures.style.error_bars import interval_bars
from figures.style.layout import HALF_WIDTH, finish_figure, label_rows, rows_height_px
from figures.style.palette import ACTIVATION, FLOAT, WEIGHT, with_opacity

SIDE_COLOR = {"weights": WEIGHT, "activations": ACTIVATION, "both": "#7B6B8D"}
MOST_BARS = 20
BAR_PX = 22
DEPTH_PX = 300


def worst_layers(
    found: Sensitivity, metric: HarmMetric, side: str, bits: int, picked: str | None = None
) -> go.Figure:
    """Return the layers with their 95 % intervals, the most harmful on top, twenty at most."""
    scores = rank_scores(found, metric, side, bits)
    shown = scores[:MOST_BARS]
    shown += [s for s in scores[MOST_BARS:] if s.question.layer == picked]
    figure = go.Figure()
    places = list(range(len(shown)))
    _add_layer_bars(figure, found, shown, metric, places=places, upright=False)
    label_rows(figure, [score.question.layer for score in shown])
    in_half = shown_title(found, metric, breaks=True)
    figure.update_xaxes(title=in_half, rangemode=_range_mode(found, metric))
    figure.update_layout(clickmode="event+select")
    title = harm_title(found, metric, side, bits)
    return finish_figure(figure, title, rows_height_px(len(shown), BAR_PX), title_width=HALF_WIDTH)


def along_depth(
    found: Sensitivity,
    metric: HarmMetric,
    side: str,
    bits: int,
    layers: Sequence[str],
    picked: str | None = None,
    order: Sequence[str] = (),
) -> go.Figure:
    """Return the layers with their 95 % intervals in the order of execution.

    `order` numbers the layers as another chart does, where `layers` leaves out some of them.
    """
    order = order or layers
    places = {layer: place for place, layer in enumerate(order)}
    shown = [
        s
        for s in scores_at_width(found, side, bits)
        if shown_layer_value(found, s, metric) is not None
    ]
    figure = go.Figure()
    xs = [places[score.question.layer] for score in shown]
    _add_layer_bars(figure, found, shown, metric, places=xs, upright=True)
    if picked in places:
        figure.add_vline(x=places[picked], line={"color": FLOAT, "width": 1, "dash": "dot"})
    figure.update_xaxes(
        title="Layer in the order of execution",
        range=[-0.7, len(order) - 0.3],
        zeroline=False,
        showgrid=False,
    )
    figure.update_yaxes(
        title=shown_title(found, metric, breaks=True), rangemode=_range_mode(found, metric)
    )
    figure.update_layout(clickmode="event+select")
    return finish_figure(figure, depth_title(found, shown, metric, len(layers)), DEPTH_PX)


def _range_mode(found: Sensitivity, metric: HarmMetric) -> str:
    return "tozero" if _starts_at_zero(found, metric) else "normal"


def _starts_at_zero(found: Sensitivity, metric: HarmMetric) -> bool:
    """Whether bars may start at 0; agreement stays near 100."""
    return metric is not HarmMetric.AGREEMENT or describes_return_to_float(found)


def _add_layer_bars(
    figure: go.Figure,
    found: Sensitivity,
    scores: Sequence[CellScore],
    metric: HarmMetric,
    *,
    places: Sequence[int],
    upright: bool,
) -> None:
    """Add a bar, a point and an interval for each layer."""
    if not scores:
        return
    values = [_finite_or_none(shown_layer_value(found, score, metric)) for score in scores]
    color = SIDE_COLOR[scores[0].question.side]
    bars: dict[str, object] = {
        "marker": {"color": with_opacity(color, 0.3), "line": {"width": 0}},
        "width": 0.5,
        "showlegend": False,
        "hoverinfo": "skip",
    }
    points: dict[str, object] = {
        "marker": {"color": color, "size": 9},
        "mode": "markers",
        "showlegend": False,
        "customdata": [point_data(score, found.noun) for score in scores],
        "cliponaxis": False,
        "hovertemplate": "%{customdata[3]}<extra></extra>",
        "unselected": {"marker": {"opacity": 1}},
    }
    errors = error_bars(found, scores, metric, color)
    lengths = values if _starts_at_zero(found, metric) else [None] * len(values)
    if upright:
        figure.add_bar(x=list(places), y=lengths, **bars)
        figure.add_scatter(x=list(places), y=values, error_y=errors, **points)
    else:
        figure.add_bar(y=list(places), x=lengths, orientation="h", **bars)
        figure.add_scatter(y=list(places), x=values, error_x=errors, **points)


def point_data(score: CellScore, noun: str) -> list[object]:
    """Return the data of a clicked point: layer, bits, side, and the lines of the hover label."""
    asked = score.question
    return [asked.layer, asked.bits, str(asked.side), describe_score(score, noun)]


def error_bars(
    found: Sensitivity, scores: Sequence[CellScore], metric: HarmMetric, color: str
) -> dict[str, object]:
    """Return the 95 % intervals of scores for Plotly; none where an end is infinite."""
    intervals = [shown_layer_interval(found, score, metric) for score in scores]
    return interval_bars(
        [shown_layer_value(found, score, metric) for score in scores],
        [None if one is None else (one.low, one.high) for one in intervals],
        color,
    )


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
