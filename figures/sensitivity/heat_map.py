"""The harm of the layers at the widths, along the depth of the network."""

import math
from collections.abc import Callable, Sequence, Sized

import numpy as np
import plotly.graph_objects as go

from analysis.ranges.findings import LOWEST_SQNR_DB
from analysis.sensitivity.ranking import (
    HIGHER_IS_BETTER,
    HarmMetric,
    cost_of_layer,
    describes_return_to_float,
    is_harm_measurable,
    scores_at_width,
    shown_layer_value,
)
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity
from figures.ranges.by_layer import SUSPECT
from figures.sensitivity.ranking import point_data
from figures.sensitivity.wording import ANSWERED, cell_text, shown_title
from figures.style.layout import finish_figure, shorten_name
from figures.style.palette import FLOAT, with_opacity

# One hue, from transparent to the colour of suspects: the same order on light and dark.
HARM_SCALE: list[tuple[float, str]] = [
    (0.0, with_opacity(SUSPECT, 0.07)),
    (0.5, with_opacity(SUSPECT, 0.5)),
    (1.0, with_opacity(SUSPECT, 1.0)),
]
MAP_ROW_PX = 24
MOST_GAPS = 60
"""Columns up to which a gap of a pixel or more separates cells; more columns touch."""
LOWEST_KL = 1e-6


def harm_map(
    found: Sensitivity, metric: HarmMetric, asked: Sequence[Question], picked: str | None = None
) -> go.Figure:
    """Return a cell for each layer, along the depth, and each width; strong colour means harm.

    Cells of `asked` without a score are grey. A clicked point's customdata holds layer, bits and
    side.
    """
    rows = [(str(side), bits) for side in found.sweep.sides for bits in found.sweep.bits]
    layers = list(dict.fromkeys(question.layer for question in asked))
    places = {layer: place for place, layer in enumerate(layers)}
    figure = go.Figure()
    for row, (side, bits) in enumerate(rows):
        known = [
            s
            for s in scores_at_width(found, side, bits)
            if _cell_shade(found, s, metric) is not None
        ]
        left = {q.layer for q in asked if (q.side, q.bits) == (side, bits)} - _layer_names(known)
        missing = sorted(places[layer] for layer in left)
        _add_missing_cells(figure, row, missing, _cell_width(places))
        _add_harm_cells(figure, row, places, known, found=found, metric=metric)
    if picked in places:
        figure.add_vline(x=places[picked], line={"color": FLOAT, "width": 1, "dash": "dot"})
    figure.update_xaxes(
        title="Layer in the order of execution",
        range=[-0.7, len(layers) - 0.3],
        zeroline=False,
        showgrid=False,
    )
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(rows))),
        ticktext=[f"{side} {bits}" for side, bits in rows],
        title="Side and bits",
        range=[len(rows) - 0.5, -0.5],
        zeroline=False,
        showgrid=False,
    )
    figure.update_layout(
        barmode="overlay",
        bargap=0.0,
        clickmode="event+select",
        showlegend=False,
        coloraxis=_color_axis(found, metric),
    )
    return finish_figure(figure, _map_title(found, metric, rows), max(130, MAP_ROW_PX * len(rows)))


def _layer_names(scores: Sequence[CellScore]) -> set[str]:
    return {score.question.layer for score in scores}


def _cell_shade(found: Sensitivity, score: CellScore, metric: HarmMetric) -> float | None:
    """Return the number behind a cell's colour; for a divergence its logarithm."""
    value = shown_layer_value(found, score, metric)
    if value is None or not _is_logarithmic(found, metric):
        return value
    return math.log10(max(value, LOWEST_KL))


def _is_logarithmic(found: Sensitivity, metric: HarmMetric) -> bool:
    return metric is HarmMetric.KL and not describes_return_to_float(found)


def _cell_width(places: Sized) -> float:
    """Return the width of a cell, as a share of a column."""
    return 0.94 if len(places) <= MOST_GAPS else 1.0


def _add_missing_cells(figure: go.Figure, row: int, places: Sequence[int], width: float) -> None:
    figure.add_bar(
        x=list(places),
        y=[0.9] * len(places),
        base=[row - 0.45] * len(places),
        width=width,
        marker={"color": with_opacity(FLOAT, 0.12), "line": {"width": 0}},
        hovertemplate="not known yet<extra></extra>",
    )


def _add_harm_cells(
    figure: go.Figure,
    row: int,
    places: dict[str, int],
    scores: Sequence[CellScore],
    *,
    found: Sensitivity,
    metric: HarmMetric,
) -> None:
    shades = [_cell_shade(found, score, metric) or 0.0 for score in scores]
    best = max((shade for shade in shades if math.isfinite(shade)), default=0.0)
    worst = min((shade for shade in shades if math.isfinite(shade)), default=0.0)
    figure.add_bar(
        x=[places[score.question.layer] for score in scores],
        y=[0.9] * len(scores),
        base=[row - 0.45] * len(scores),
        width=_cell_width(places),
        marker={
            "color": [min(max(shade, worst), best) for shade in shades],
            "coloraxis": "coloraxis",
            "line": {"width": 0},
        },
        unselected={"marker": {"opacity": 1}},
        # of an array Plotly checks the type alone, of a list each item
        customdata=np.array([point_data(score, found.noun) for score in scores], dtype=object),
        hovertemplate="%{customdata[3]}<extra></extra>",
    )


def _color_axis(found: Sensitivity, metric: HarmMetric) -> dict[str, object]:
    gives = describes_return_to_float(found)
    scale = HARM_SCALE
    if metric in HIGHER_IS_BETTER and not gives:
        scale = [(1 - place, color) for place, color in reversed(HARM_SCALE)]
    title = shown_title(found, metric, breaks=True)
    axis: dict[str, object] = {
        "colorscale": scale,
        "colorbar": {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0},
    }
    shades = [s for score in found.scores if (s := _cell_shade(found, score, metric)) is not None]
    finite = [shade for shade in shades if math.isfinite(shade)]
    if finite and (gives or metric in (HarmMetric.TASK, HarmMetric.ACCURACY)):
        axis["cmin"], axis["cmax"] = 0.0, max(*finite, 0.01, key=float)
    elif finite and min(finite) == max(finite):
        axis["cmin"], axis["cmax"] = finite[0] - 1, finite[0] + 1
    if _is_logarithmic(found, metric) and finite:
        ticks = list(range(math.floor(min(finite)), math.ceil(max(finite)) + 1))
        axis["colorbar"] |= {  # type: ignore[operator]
            "tickvals": ticks,
            "ticktext": [f"{10.0**tick:g}" for tick in ticks],
        }
    return axis


def _map_title(found: Sensitivity, metric: HarmMetric, rows: Sequence[tuple[str, int]]) -> str:
    """Return the width at which harm begins; the bar chart names the layers."""
    if not found.scores:
        return "No cell is known yet"
    exact = metric in ANSWERED and found.depth is Depth.EXACT
    if describes_return_to_float(found) and not exact:
        return _worst_cell(found, metric, "gives back most")
    if exact:
        what = (
            "A measurable gain by one float layer"
            if describes_return_to_float(found)
            else "Measurable harm"
        )
        return _begins_title(found, rows, is_harm_measurable, what)
    if metric is HarmMetric.KL:
        return _worst_cell(found, metric, "suffers most")
    return _begins_title(found, rows, _is_noisy, f"An SQNR below {LOWEST_SQNR_DB:.0f} dB")


def _worst_cell(found: Sensitivity, metric: HarmMetric, what: str) -> str:
    worst = max(found.scores, key=lambda s: _finite_or_least(cost_of_layer(found, s, metric)))
    asked = worst.question
    return f"{shorten_name(asked.layer, 40)} {what}: {cell_text(asked.side, asked.bits)}"


def _is_noisy(found: Sensitivity, score: CellScore) -> bool:
    return not describes_return_to_float(found) and score.sqnr_db < LOWEST_SQNR_DB


def _begins_title(
    found: Sensitivity,
    rows: Sequence[tuple[str, int]],
    harms: Callable[[Sensitivity, CellScore], bool],
    what: str,
) -> str:
    """Return the width at which an effect begins, by side, and the number of layers."""
    parts = []
    for side in dict.fromkeys(side for side, _ in rows):
        counts = {
            bits: sum(harms(found, score) for score in scores_at_width(found, side, bits))
            for s, bits in rows
            if s == side
        }
        widest = max((bits for bits, count in counts.items() if count), default=None)
        if widest is not None:
            layers = "1 layer" if counts[widest] == 1 else f"{counts[widest]} layers"
            parts.append(f"{layers} at {cell_text(side, widest)}")
    if parts:
        return f"{what} begins with {' and with '.join(parts)}"
    return f"{what} is seen in no layer at any of these widths"


def _finite_or_least(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value
