"""The harm of every layer at every width, along the network's depth."""

import math
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from analysis.ranges.findings import LOWEST_SQNR_DB
from analysis.sensitivity.ranking import (
    HIGHER_IS_BETTER,
    HarmMetric,
    at,
    gives_back,
    guilt_of,
    measurable,
    shown_of,
)
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity
from figures.ranges.by_layer import SUSPECT
from figures.sensitivity.ranking import point_data
from figures.sensitivity.wording import shown_title, where
from figures.style.layout import finish, shorten
from figures.style.palette import FLOAT, faded

# One hue from nothing to the colour of suspects, so that it reads alike on light and dark.
HARM_SCALE: list[tuple[float, str]] = [
    (0.0, faded(SUSPECT, 0.07)),
    (0.5, faded(SUSPECT, 0.5)),
    (1.0, faded(SUSPECT, 1.0)),
]
MAP_ROW_PX = 24
LOWEST_KL = 1e-6


def harm_map(
    found: Sensitivity, metric: HarmMetric, asked: Sequence[Question], picked: str | None = None
) -> go.Figure:
    """Return a cell for each layer, along the depth, and each width; strong colour is harm.

    Of the cells that were `asked` for, those not known yet are grey. A click gives a point whose
    customdata holds layer, bits and side.
    """
    rows = [(str(side), bits) for side in found.sweep.sides for bits in found.sweep.bits]
    layers = list(dict.fromkeys(question.layer for question in asked))
    places = {layer: place for place, layer in enumerate(layers)}
    figure = go.Figure()
    for row, (side, bits) in enumerate(rows):
        known = [s for s in at(found, side, bits) if _shade(found, s, metric) is not None]
        left = {q.layer for q in asked if (q.side, q.bits) == (side, bits)} - _names(known)
        _add_missing(figure, row, sorted(places[layer] for layer in left))
        _add_cells(figure, row, places, known, found=found, metric=metric)
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
    return finish(figure, _map_title(found, metric, rows), max(130, MAP_ROW_PX * len(rows)))


def _names(scores: Sequence[CellScore]) -> set[str]:
    return {score.question.layer for score in scores}


def _shade(found: Sensitivity, score: CellScore, metric: HarmMetric) -> float | None:
    """Return what a cell's colour stands for: the number shown, its logarithm for a divergence."""
    value = shown_of(found, score, metric)
    if value is None or not _logarithmic(found, metric):
        return value
    return math.log10(max(value, LOWEST_KL))


def _logarithmic(found: Sensitivity, metric: HarmMetric) -> bool:
    return metric is HarmMetric.KL and not gives_back(found)


def _add_missing(figure: go.Figure, row: int, places: Sequence[int]) -> None:
    figure.add_bar(
        x=list(places),
        y=[0.9] * len(places),
        base=[row - 0.45] * len(places),
        width=0.94,
        marker={"color": faded(FLOAT, 0.12), "line": {"width": 0}},
        hovertemplate="not known yet<extra></extra>",
    )


def _add_cells(
    figure: go.Figure,
    row: int,
    places: dict[str, int],
    scores: Sequence[CellScore],
    *,
    found: Sensitivity,
    metric: HarmMetric,
) -> None:
    shades = [_shade(found, score, metric) or 0.0 for score in scores]
    best = max((shade for shade in shades if math.isfinite(shade)), default=0.0)
    worst = min((shade for shade in shades if math.isfinite(shade)), default=0.0)
    figure.add_bar(
        x=[places[score.question.layer] for score in scores],
        y=[0.9] * len(scores),
        base=[row - 0.45] * len(scores),
        width=0.94,
        marker={
            "color": [min(max(shade, worst), best) for shade in shades],
            "coloraxis": "coloraxis",
            "line": {"width": 0},
        },
        unselected={"marker": {"opacity": 1}},
        customdata=[point_data(score) for score in scores],
        hovertemplate="%{customdata[3]}<extra></extra>",
    )


def _color_axis(found: Sensitivity, metric: HarmMetric) -> dict[str, object]:
    gives = gives_back(found)
    scale = HARM_SCALE
    if metric in HIGHER_IS_BETTER and not gives:
        scale = [(1 - place, color) for place, color in reversed(HARM_SCALE)]
    title = shown_title(found, metric, breaks=True)
    axis: dict[str, object] = {
        "colorscale": scale,
        "colorbar": {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0},
    }
    shades = [s for score in found.scores if (s := _shade(found, score, metric)) is not None]
    finite = [shade for shade in shades if math.isfinite(shade)]
    if finite and (gives or metric is HarmMetric.ACCURACY):
        axis["cmin"], axis["cmax"] = 0.0, max(*finite, 0.01, key=float)
    elif finite and min(finite) == max(finite):
        axis["cmin"], axis["cmax"] = finite[0] - 1, finite[0] + 1
    if _logarithmic(found, metric) and finite:
        ticks = list(range(math.floor(min(finite)), math.ceil(max(finite)) + 1))
        axis["colorbar"] |= {  # type: ignore[operator]
            "tickvals": ticks,
            "ticktext": [f"{10.0**tick:g}" for tick in ticks],
        }
    return axis


def _map_title(found: Sensitivity, metric: HarmMetric, rows: Sequence[tuple[str, int]]) -> str:
    """Say from which width on harm begins; the bars say who does it."""
    if not found.scores:
        return "No cell is known yet"
    exact = metric in (HarmMetric.ACCURACY, HarmMetric.AGREEMENT) and found.depth is Depth.EXACT
    if gives_back(found) and not exact:
        return _worst_cell(found, metric, "gives back most")
    if exact:
        what = "A measurable gain by one float layer" if gives_back(found) else "Measurable harm"
        return _begins(found, rows, measurable, what)
    if metric is HarmMetric.KL:
        return _worst_cell(found, metric, "suffers most")
    return _begins(found, rows, _noisy, f"An SQNR below {LOWEST_SQNR_DB:.0f} dB")


def _worst_cell(found: Sensitivity, metric: HarmMetric, what: str) -> str:
    worst = max(found.scores, key=lambda s: _or_least(guilt_of(found, s, metric)))
    asked = worst.question
    return f"{shorten(asked.layer, 40)} {what}: {where(asked.side, asked.bits)}"


def _noisy(found: Sensitivity, score: CellScore) -> bool:
    return not gives_back(found) and score.sqnr_db < LOWEST_SQNR_DB


def _begins(
    found: Sensitivity,
    rows: Sequence[tuple[str, int]],
    harms: Callable[[Sensitivity, CellScore], bool],
    what: str,
) -> str:
    """Return at which width of each side something begins, and in how many layers."""
    parts = []
    for side in dict.fromkeys(side for side, _ in rows):
        counts = {
            bits: sum(harms(found, score) for score in at(found, side, bits))
            for s, bits in rows
            if s == side
        }
        widest = max((bits for bits, count in counts.items() if count), default=None)
        if widest is not None:
            layers = "1 layer" if counts[widest] == 1 else f"{counts[widest]} layers"
            parts.append(f"{layers} at {where(side, widest)}")
    if parts:
        return f"{what} begins with {' and with '.join(parts)}"
    return f"{what} is seen in no layer at any of these widths"


def _or_least(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value
