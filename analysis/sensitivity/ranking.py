"""Ranks the layers of a sensitivity by each metric of harm."""

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from analysis.evaluation.measures import Interval, spearman_correlation
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, View
from quant.simulation.plan import Side

MOST_OF_THE_HARM = 0.8


class HarmMetric(StrEnum):
    """The metric for scores."""

    TASK = "Metric lost"
    ACCURACY = "Accuracy drop"
    SQNR = "Output SQNR"
    KL = "KL divergence"
    AGREEMENT = "Agreement"


HIGHER_IS_BETTER = (HarmMetric.SQNR, HarmMetric.AGREEMENT)
UNITS = {
    HarmMetric.TASK: "points",
    HarmMetric.ACCURACY: "points",
    HarmMetric.SQNR: "dB",
    HarmMetric.KL: "nat",
    HarmMetric.AGREEMENT: "%",
}


def value_in_metric(score: CellScore, metric: HarmMetric) -> float | None:
    """Return a score in the unit of the metric, or None if unknown."""
    match metric:
        case HarmMetric.TASK:
            return score.task_loss
        case HarmMetric.ACCURACY:
            return _percent_of_share(score.accuracy_drop)
        case HarmMetric.SQNR:
            return None if math.isnan(score.sqnr_db) else score.sqnr_db
        case HarmMetric.KL:
            return score.kl
        case HarmMetric.AGREEMENT:
            return _percent_of_share(score.agreement)


def interval_in_metric(score: CellScore, metric: HarmMetric) -> Interval | None:
    """Return the 95 % interval in the unit of the metric, or None."""
    match metric:
        case HarmMetric.TASK:
            found, factor = score.task_loss_ci95, 1.0
        case HarmMetric.ACCURACY:
            found, factor = score.accuracy_drop_ci95, 100.0
        case HarmMetric.SQNR:
            found, factor = score.sqnr_ci95, 1.0
        case HarmMetric.AGREEMENT:
            found, factor = score.agreement_ci95, 100.0
        case HarmMetric.KL:
            return None
    return None if found is None else Interval(factor * found.low, factor * found.high)


def harm_in_metric(score: CellScore, metric: HarmMetric) -> float | None:
    """Return the harm of a score, larger for worse scores; None if unknown."""
    value = value_in_metric(score, metric)
    if value is None:
        return None
    return -value if metric in HIGHER_IS_BETTER else value


def score_of_whole(found: Sensitivity, side: str, bits: int) -> CellScore | None:
    """Return the score of the fully quantized network, if measured."""
    return next(
        (s for s in found.whole if s.question.side == side and s.question.bits == bits), None
    )


def describes_return_to_float(found: Sensitivity) -> bool:
    """Whether the scores describe a layer's return to float; never for instant scores."""
    return found.sweep.view is View.ALL_BUT and found.depth is not Depth.INSTANT


def cost_of_layer(found: Sensitivity, score: CellScore, metric: HarmMetric) -> float | None:
    """Return the cost of the layer of a score: larger is worse, in the metric's unit.

    For a layer quantized alone, the cost is the harm. For a layer left float alone, the cost is the
    gain from the return to float, or the negative harm without the whole network's score.
    """
    harm = harm_in_metric(score, metric)
    if harm is None or not describes_return_to_float(found):
        return harm
    whole = score_of_whole(found, score.question.side, score.question.bits)
    all_harm = None if whole is None else harm_in_metric(whole, metric)
    return (all_harm or 0.0) - harm


def layers_by_cost(found: Sensitivity) -> tuple[str, ...]:
    """Return the layers by cost in SQNR at the fewest bits, the worst first.

    The worst side of a layer counts.
    """
    bits = min(found.sweep.bits)
    worst: dict[str, float] = {}
    for score in found.scores:
        guilt = cost_of_layer(found, score, HarmMetric.SQNR)
        if score.question.bits == bits and guilt is not None:
            layer = score.question.layer
            worst[layer] = max(guilt, worst.get(layer, -math.inf))
    return tuple(sorted(worst, key=lambda layer: -worst[layer]))


def shown_layer_value(found: Sensitivity, score: CellScore, metric: HarmMetric) -> float | None:
    """Return the displayed number of a layer: the score, or the gain from a return to float."""
    if not describes_return_to_float(found):
        return value_in_metric(score, metric)
    whole = score_of_whole(found, score.question.side, score.question.bits)
    if whole is None or value_in_metric(whole, metric) is None:
        return None
    return cost_of_layer(found, score, metric)


def shown_layer_interval(
    found: Sensitivity, score: CellScore, metric: HarmMetric
) -> Interval | None:
    """Return the 95 % interval of the displayed number.

    For a return to float, the interval belongs to the network with the other layers quantized; the
    score of the whole network counts as exact.
    """
    interval = interval_in_metric(score, metric)
    if interval is None or not describes_return_to_float(found):
        return interval
    whole = score_of_whole(found, score.question.side, score.question.bits)
    value = None if whole is None else value_in_metric(whole, metric)
    if value is None:
        return None
    if metric in HIGHER_IS_BETTER:
        return Interval(interval.low - value, interval.high - value)
    return Interval(value - interval.high, value - interval.low)


def scores_at_width(found: Sensitivity, side: str, bits: int) -> list[CellScore]:
    """Return the scores of one side at one width, in the order of the network."""
    return [s for s in found.scores if s.question.side == side and s.question.bits == bits]


def rank_scores(found: Sensitivity, metric: HarmMetric, side: str, bits: int) -> list[CellScore]:
    """Return the scores of one side at one width, the most harmful first.

    Ties are ordered by the output's SQNR. Scores without the metric are left out.
    """
    known = [
        s for s in scores_at_width(found, side, bits) if value_in_metric(s, metric) is not None
    ]

    def key(score: CellScore) -> tuple[float, float]:
        tie = cost_of_layer(found, score, HarmMetric.SQNR)
        return -(cost_of_layer(found, score, metric) or 0.0), -(tie or 0.0)

    return sorted(known, key=key)


def available_metrics(found: Sensitivity) -> list[HarmMetric]:
    """Return the metrics of the scores."""
    return [
        m
        for m in HarmMetric
        if any(value_in_metric(score, m) is not None for score in found.scores)
    ]


def merge_deepest_answers(
    first: Sensitivity, other: Sensitivity | None, layers: Sequence[str]
) -> Sensitivity:
    """Return `first` plus the answers found only in `other`, in the order of `layers`."""
    if other is None:
        return first
    known = {score.question: score for score in other.scores}
    known.update({score.question: score for score in first.scores})
    places = {layer: place for place, layer in enumerate(layers)}
    scores = sorted(known.values(), key=lambda s: places.get(s.question.layer, len(places)))
    return replace(first, scores=tuple(scores))


def fewest_harmful_layers(guilt: dict[str, float], share: float = MOST_OF_THE_HARM) -> list[str]:
    """Return the fewest layers that together have `share` of the harm, the most harmful first.

    Example:
        >>> fewest_harmful_layers({"conv1": 6.0, "conv2": 3.0, "fc": 1.0})
        ['conv1', 'conv2']
    """
    positive = {name: value for name, value in guilt.items() if value > 0}
    total, reached = sum(positive.values()), 0.0
    chosen = []
    for name in sorted(positive, key=lambda key: -positive[key]):
        chosen.append(name)
        reached += positive[name]
        if reached >= share * total:
            break
    return chosen


def is_harm_measurable(found: Sensitivity, score: CellScore) -> bool:
    """Whether the 95 % interval of the accuracy drop (or agreement) excludes zero harm."""
    drop = score.accuracy_drop_ci95 if score.task_loss_ci95 is None else score.task_loss_ci95
    agreement = score.agreement_ci95
    if describes_return_to_float(found):
        metric = HarmMetric.AGREEMENT if drop is None else HarmMetric.ACCURACY
        metric = metric if score.task_loss_ci95 is None else HarmMetric.TASK
        given = shown_layer_interval(found, score, metric)
        return given is not None and given.low > 0
    if drop is not None:
        return drop.low > 0
    return agreement is not None and agreement.high < 1


def progress_in_words(found: Sensitivity, asked: int) -> str:
    """Return the number of exactly known cells in words."""
    known = sum(score.depth is Depth.EXACT for score in found.scores)
    return f"{known} of {asked} cells known"


def _percent_of_share(share: float | None) -> float | None:
    return None if share is None else 100 * share


def rank_agreement(
    first: Sensitivity, second: Sensitivity, side: Side | None = None, bits: int | None = None
) -> float | None:
    """Return Spearman's rho of the output's SQNR over the questions that both sensitivities answer.

    Without `side` or `bits`, the questions of both sides or of every width count. Scores of another
    depth than the sensitivity's own are left out. None for fewer than three common questions, or
    for a sensitivity without a ranking.
    """
    known = _sqnr_by_question(second, side, bits)
    pairs = [
        (own, known[q]) for q, own in _sqnr_by_question(first, side, bits).items() if q in known
    ]
    return spearman_correlation([own for own, _ in pairs], [other for _, other in pairs])


def _sqnr_by_question(
    found: Sensitivity, side: Side | None, bits: int | None
) -> dict[Question, float]:
    return {
        score.question: score.sqnr_db
        for score in found.scores
        if score.depth is found.depth
        and side in (None, score.question.side)
        and bits in (None, score.question.bits)
        and not math.isnan(score.sqnr_db)
    }
