"""Harm in words: names of metrics and sides, values with units, and the most harmful layers."""

import math
from collections.abc import Sequence

from analysis.sensitivity.ranking import (
    HIGHER_IS_BETTER,
    UNITS,
    HarmMetric,
    cost_of_layer,
    describes_return_to_float,
    fewest_harmful_layers,
    interval_in_metric,
    is_harm_measurable,
    rank_scores,
    scores_at_width,
    shown_layer_value,
    value_in_metric,
)
from analysis.sensitivity.sweep import CellScore, Depth, Sensitivity
from figures.style.layout import count_word, escape_markup, shorten_name
from figures.style.units import format_share

SIDE_NAMES = {"weights": "weights", "activations": "activations", "both": "weights and activations"}
EVEN = 0.45  # a smaller share in the worst third shows no pattern
FEW = 1 / 3  # a title names at most this share of the layers
_THIRDS = ("first", "middle", "last")
ANSWERED = (HarmMetric.TASK, HarmMetric.ACCURACY, HarmMetric.AGREEMENT)
"""Metrics of answers, which only an exact sweep measures."""
_LOST = {
    HarmMetric.TASK: "the metric lost",
    HarmMetric.ACCURACY: "the accuracy lost",
    HarmMetric.KL: "the KL divergence",
    HarmMetric.AGREEMENT: "the answers changed",
}


def cell_text(side: str, bits: int) -> str:
    """Return the quantized side and width, such as "8-bit weights"."""
    return f"{bits}-bit {SIDE_NAMES[side]}"


def axis_title(metric: HarmMetric, depth: Depth = Depth.EXACT, *, breaks: bool = False) -> str:
    """Return a metric's name with unit and direction."""
    name = metric_name(metric, depth)
    better = "higher" if metric in HIGHER_IS_BETTER else "lower"
    return f"{name} ({UNITS[metric]}),{'<br>' if breaks else ' '}{better} is better"


def metric_name(metric: HarmMetric, depth: Depth = Depth.EXACT) -> str:
    """Return the name of a metric; without any forward the SQNR describes the tensor alone."""
    return "Tensor SQNR" if (metric, depth) == (HarmMetric.SQNR, Depth.INSTANT) else str(metric)


def format_metric(value: float | None, metric: HarmMetric) -> str:
    """Return a value with its unit; zero noise is "exact"."""
    if value is None:
        return "not known yet"
    if value == math.inf:
        return "exact"
    digits = f"{value:.3g}" if metric is HarmMetric.KL else f"{value:.1f}"
    return f"{digits} {UNITS[metric]}"


def describe_score(score: CellScore, noun: str) -> str:
    """Return the lines of a score's hover label: the layer, and every known metric."""
    asked = score.question
    lines = [f"<b>{escape_markup(asked.layer)}</b>", cell_text(asked.side, asked.bits)]
    for metric in HarmMetric:
        value = value_in_metric(score, metric)
        if value is None:
            continue
        name = metric_name(metric, score.depth)
        interval = interval_in_metric(score, metric)
        spread = f" ({interval.low:.1f} to {interval.high:.1f})" if interval else ""
        lines.append(f"{name}: {format_metric(value, metric)}{spread}")
    by = f"{score.depth}, {score.images} {noun}s" if score.images else str(score.depth)
    return "<br>".join([*lines, by])


def shown_title(found: Sensitivity, metric: HarmMetric, *, breaks: bool = False) -> str:
    """Return the axis title of the numbers shown for the layers of a sensitivity."""
    if not describes_return_to_float(found):
        return axis_title(metric, found.depth, breaks=breaks)
    gap = "<br>" if breaks else " "
    return f"Given back in float ({UNITS[metric]}),{gap}higher is more harmful"


def harm_title(found: Sensitivity, metric: HarmMetric, side: str, bits: int) -> str:
    """Return the most harmful layers in a sentence: a few layers, or the worst layer."""
    scores = rank_scores(found, metric, side, bits)
    if not scores:
        return f"Nothing is known yet of {cell_text(side, bits)}"
    name, count = shorten_name(scores[0].question.layer, 40), len(scores)
    worst, what = (
        format_metric(shown_layer_value(found, scores[0], metric), metric),
        cell_text(side, bits),
    )
    exact = metric in ANSWERED and found.depth is Depth.EXACT
    harmed = any(is_harm_measurable(found, score) for score in scores)
    if describes_return_to_float(found):
        if exact and not harmed:
            return f"No layer's return to float alone helps measurably with {what}"
        return f"{name} gives back most when it alone returns to float with {what}: {worst}"
    if metric is HarmMetric.SQNR:
        return f"{name} is the noisiest of {count} layers with {what}: {worst}"
    if exact and not harmed:
        return f"No layer of {count} does measurable harm with {what}"
    few = fewest_harmful_layers({s.question.layer: additive_harm(found, s, metric) for s in scores})
    if few and len(few) <= max(1, FEW * count):
        return _few_layers_title(found, scores, few, metric)
    return f"Many layers share the harm of {what}; {name} is the worst: {worst}"


def _few_layers_title(
    found: Sensitivity, scores: Sequence[CellScore], few: Sequence[str], metric: HarmMetric
) -> str:
    """Return a sentence: a few of the measured layers cause a large share of the harm."""
    asked = scores[0].question
    guilt = {score.question.layer: additive_harm(found, score, metric) for score in scores}
    share = format_share(sum(guilt[layer] for layer in few) / sum(guilt.values()))
    number, verb = count_word(len(few)), "costs" if len(few) == 1 else "cost"
    if len(scores) < len(scores_at_width(found, asked.side, asked.bits)):
        number = f"So far, {number.lower()}"
    lost, what = _LOST[metric], cell_text(asked.side, asked.bits)
    return f"{number} of {len(scores)} layers {verb} {share} of {lost} with {what}"


def depth_title(
    found: Sensitivity, scores: Sequence[CellScore], metric: HarmMetric, layers: int
) -> str:
    """Return the third of the network with most harm; for an SQNR, of the noise energy."""
    if len(scores) < layers:
        return f"{len(scores)} of {layers} layers are known so far"
    thirds = [0.0, 0.0, 0.0]
    for place, score in enumerate(scores):
        thirds[3 * place // len(scores)] += additive_harm(found, score, metric)
    what = (
        "gain"
        if describes_return_to_float(found)
        else "noise"
        if metric is HarmMetric.SQNR
        else "harm"
    )
    if sum(thirds) <= 0:
        return f"There is no {what} at any depth"
    share = max(thirds) / sum(thirds)
    if share < EVEN:
        return f"The {what} is spread evenly over the depth"
    third = _THIRDS[thirds.index(max(thirds))]
    return f"The {third} third of the layers has {format_share(share)} of the {what}"


def additive_harm(found: Sensitivity, score: CellScore, metric: HarmMetric) -> float:
    """Return an additive part of the harm: for an SQNR, an energy."""
    guilt = cost_of_layer(found, score, metric)
    if guilt is None or not math.isfinite(guilt):
        return 0.0
    if describes_return_to_float(found):
        return max(guilt, 0.0)
    if metric is HarmMetric.SQNR:
        return float(10 ** (guilt / 10))
    return max(guilt + (100.0 if metric is HarmMetric.AGREEMENT else 0.0), 0.0)
