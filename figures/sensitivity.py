"""Which layer is guilty: the harm of each with its interval, in words and as bars."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.harm import (
    HIGHER_IS_BETTER,
    UNITS,
    Metric,
    at,
    fewest,
    guilt_of,
    interval_of,
    measurable,
    ranked,
    value_of,
    whole_of,
)
from analysis.questions import Depth, Score, Sensitivity, View
from figures.layout import count_word, escape, finish, label_rows, rows_px, shorten
from figures.palette import ACTIVATION, FLOAT, WEIGHT, faded
from figures.units import format_share

SIDE_COLOR = {"weights": WEIGHT, "activations": ACTIVATION, "both": "#7B6B8D"}
SIDE_NAMES = {"weights": "weights", "activations": "activations", "both": "weights and activations"}
MOST_BARS = 20
EVEN = 0.45  # less in the worst third of the network is no pattern
FEW = 1 / 3  # a takeaway about most layers is none


def where(side: str, bits: int) -> str:
    """Return what was quantized, such as "8-bit weights"."""
    return f"{bits}-bit {SIDE_NAMES[side]}"


def axis_title(metric: Metric, depth: Depth = Depth.EXACT, *, breaks: bool = False) -> str:
    """Return a metric's name with its unit and its direction."""
    name = name_of(metric, depth)
    better = "higher" if metric in HIGHER_IS_BETTER else "lower"
    return f"{name} ({UNITS[metric]}),{'<br>' if breaks else ' '}{better} is better"


def name_of(metric: Metric, depth: Depth = Depth.EXACT) -> str:
    """Return what a metric is called; without any forward the SQNR is that of the tensor alone."""
    return "Tensor SQNR" if (metric, depth) == (Metric.SQNR, Depth.INSTANT) else str(metric)


def text_of(value: float | None, metric: Metric) -> str:
    """Return a value with its unit; a noise of nothing is "exact"."""
    if value is None:
        return "not known yet"
    if value == math.inf:
        return "exact"
    digits = f"{value:.3g}" if metric is Metric.KL else f"{value:.1f}"
    return f"{digits} {UNITS[metric]}"


def describe(score: Score) -> str:
    """Return the lines of a score's hover label: who, and every metric that is known."""
    asked = score.question
    lines = [f"<b>{escape(asked.layer)}</b>", where(asked.side, asked.bits)]
    for metric in Metric:
        value = value_of(score, metric)
        if value is None:
            continue
        name = name_of(metric, score.depth)
        interval = interval_of(score, metric)
        spread = f" ({interval.low:.1f} to {interval.high:.1f})" if interval else ""
        lines.append(f"{name}: {text_of(value, metric)}{spread}")
    by = f"{score.depth}, {score.images} images" if score.images else str(score.depth)
    return "<br>".join([*lines, by])


def worst_layers(
    found: Sensitivity, metric: Metric, side: str, bits: int, picked: str | None = None
) -> go.Figure:
    """Return the layers with their 95 % intervals, the guiltiest on top, twenty at most."""
    scores = ranked(found, metric, side, bits)
    shown = scores[:MOST_BARS]
    shown += [s for s in scores[MOST_BARS:] if s.question.layer == picked]
    figure = go.Figure()
    _add_intervals(figure, shown, metric, list(range(len(shown))), side=side, upright=False)
    _add_whole(figure, found, metric, side, bits, upright=False)
    label_rows(figure, [score.question.layer for score in shown])
    figure.update_xaxes(title=_with_view(found, metric), rangemode=_mode(metric))
    figure.update_layout(clickmode="event+select")
    title = guilt_title(found, metric, side, bits)
    return finish(figure, title, rows_px(len(shown), 22))


def along_depth(
    found: Sensitivity,
    metric: Metric,
    side: str,
    bits: int,
    layers: Sequence[str],
    picked: str | None = None,
) -> go.Figure:
    """Return all layers with their 95 % intervals in the order of execution."""
    places = {layer: place for place, layer in enumerate(layers)}
    shown = [s for s in at(found, side, bits) if value_of(s, metric) is not None]
    figure = go.Figure()
    xs = [places[score.question.layer] for score in shown]
    _add_intervals(figure, shown, metric, xs, side=side, upright=True)
    _add_whole(figure, found, metric, side, bits, upright=True)
    if picked in places:
        figure.add_vline(x=places[picked], line={"color": FLOAT, "width": 1, "dash": "dot"})
    figure.update_xaxes(
        title="Layer in the order of execution", range=[-0.7, len(layers) - 0.3],
        zeroline=False, showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(title=_with_view(found, metric), rangemode=_mode(metric))
    figure.update_layout(clickmode="event+select")
    return finish(figure, _depth_title(found, shown, metric, len(layers)), 300)


def _depth_title(found: Sensitivity, scores: Sequence[Score], metric: Metric, layers: int) -> str:
    """Say in which third of the network the harm lies: of the noise's energy, for an SQNR."""
    thirds = [0.0, 0.0, 0.0]
    for place, score in enumerate(scores):
        thirds[3 * place // len(scores)] += _amount(found, score, metric)
    total = sum(thirds)
    if len(scores) < layers or total <= 0:
        return f"{len(scores)} of {layers} layers are known"
    most = thirds.index(max(thirds))
    what = "noise" if metric is Metric.SQNR else "harm"
    share = max(thirds) / total
    if share < EVEN:
        return f"The {what} is spread evenly over the depth"
    return f"The {_THIRDS[most]} third of the layers has {format_share(share)} of the {what}"


def _amount(found: Sensitivity, score: Score, metric: Metric) -> float:
    """Return a part of the harm that can be added up: an energy, for an SQNR."""
    guilt = guilt_of(found, score, metric)
    if guilt is None or not math.isfinite(guilt):
        return 0.0
    if metric is Metric.SQNR and found.sweep.view is View.ONLY:
        return float(10 ** (guilt / 10))
    offset = 100.0 if metric is Metric.AGREEMENT and found.sweep.view is View.ONLY else 0.0
    return max(guilt + offset, 0.0)


_THIRDS = ("first", "middle", "last")


def _mode(metric: Metric) -> str:
    return "normal" if metric is Metric.AGREEMENT else "tozero"


def _with_view(found: Sensitivity, metric: Metric) -> str:
    title = axis_title(metric, found.depth)
    return f"{title}; all layers but this" if found.sweep.view is View.ALL_BUT else title


def _add_intervals(
    figure: go.Figure,
    scores: Sequence[Score],
    metric: Metric,
    places: Sequence[int],
    *,
    side: str,
    upright: bool,
) -> None:
    values = [_finite(value_of(score, metric)) for score in scores]
    spreads = [interval_of(score, metric) for score in scores]
    color = SIDE_COLOR[side]
    low = min((v for v in values if v is not None), default=0.0)
    # bars that begin anywhere but at 0 would lie; agreement stays near 100
    base = math.floor(low - 5) if metric is Metric.AGREEMENT else 0.0
    error = {
        "type": "data", "symmetric": False, "color": color, "thickness": 1.5, "width": 4,
        "array": [s.high - v if s and v is not None else 0.0
                  for s, v in zip(spreads, values, strict=True)],
        "arrayminus": [v - s.low if s and v is not None else 0.0
                       for s, v in zip(spreads, values, strict=True)],
    }  # fmt: skip
    data = [[s.question.layer, s.question.bits, str(s.question.side), describe(s)] for s in scores]
    marks = {
        "marker": {"color": color, "size": 9}, "mode": "markers", "customdata": data,
        "hovertemplate": "%{customdata[3]}<extra></extra>", "showlegend": False,
        "unselected": {"marker": {"opacity": 1}}, "cliponaxis": False,
    }  # fmt: skip
    sticks = {
        "marker": {"color": faded(color, 0.3), "line": {"width": 0}}, "width": 0.5,
        "showlegend": False, "hoverinfo": "skip", "base": base,
    }  # fmt: skip
    lengths = [None if v is None or metric is Metric.AGREEMENT else v - base for v in values]
    if upright:
        figure.add_bar(x=list(places), y=lengths, **sticks)
        figure.add_scatter(x=list(places), y=values, error_y=error, **marks)
    else:
        figure.add_bar(y=list(places), x=lengths, orientation="h", **sticks)
        figure.add_scatter(y=list(places), x=values, error_x=error, **marks)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _add_whole(
    figure: go.Figure, found: Sensitivity, metric: Metric, side: str, bits: int, *, upright: bool
) -> None:
    whole = whole_of(found, side, bits)
    value = None if whole is None else _finite(value_of(whole, metric))
    if value is None:
        return
    style = {
        "line": {"color": FLOAT, "dash": "dash"},
        "annotation": {"text": f"all quantized: {text_of(value, metric)}"},
    }
    if upright:
        figure.add_hline(y=value, annotation_position="top left", **style)
    else:
        figure.add_vline(x=value, annotation_position="top left", **style)


def guilt_title(found: Sensitivity, metric: Metric, side: str, bits: int) -> str:
    """Return who is guilty, in a sentence: few layers with most of the harm, or the worst."""
    scores = ranked(found, metric, side, bits)
    if not scores:
        return f"Nothing is known yet of {where(side, bits)}"
    name, count = shorten(scores[0].question.layer, 40), len(scores)
    worst = text_of(value_of(scores[0], metric), metric)
    if metric is Metric.SQNR:
        what = "gives back most" if found.sweep.view is View.ALL_BUT else "is the noisiest"
        return f"{name} {what} of {count} layers with {where(side, bits)}: {worst}"
    if metric in (Metric.ACCURACY, Metric.AGREEMENT) and found.depth is Depth.EXACT:
        harmed = sum(measurable(found, score) for score in scores)
        if not harmed:
            return f"No layer of {count} does measurable harm with {where(side, bits)}"
    guilt = {s.question.layer: _amount(found, s, metric) for s in scores}
    few = fewest(guilt)
    so_far = "So far, " if count < len(at(found, side, bits)) else ""
    if few and len(few) <= max(1, FEW * count):
        total = sum(value for value in guilt.values() if value > 0)
        share = format_share(sum(guilt[layer] for layer in few) / total)
        number = count_word(len(few))
        who = f"{so_far}{number.lower() if so_far else number} of {count} layers"
        verb = "costs" if len(few) == 1 else "cost"
        return f"{who} {verb} {share} of {_LOST[metric]} with {where(side, bits)}"
    return f"Many layers share the harm of {where(side, bits)}; {name} is the worst: {worst}"


_LOST = {
    Metric.ACCURACY: "the accuracy lost",
    Metric.KL: "the KL divergence",
    Metric.AGREEMENT: "the answers changed",
}
