"""The measured value of a condition, of a run alone or beside another run, with the interval."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from accelerator.machine import machine_title
from analysis.cost.quantity import Quantity
from analysis.evaluation.image_answers import count_changes, unpack_bits
from analysis.evaluation.intervals import (
    ENERGY_SOURCE,
    PAIRED_SOURCE,
    PROPORTION_SOURCE,
    normal_quantile,
    paired_interval,
    proportion_interval,
)
from analysis.evaluation.measures import Z95, Interval
from analysis.gate.condition import Condition, Measure
from analysis.runs.run_store import Run
from quant.errors import QuantError

COST_SOURCE = "an estimate of the machine's model: no chance in it"
EXACT_SOURCE = "the outputs are exactly those of the float network"
METRIC_SOURCE = "percentile bootstrap over answers"
WHOLE_SOURCE = "one number for all answers: no interval"


@dataclass(frozen=True, eq=False, slots=True)
class Estimate:
    """A measured value in the unit of a run, the interval, and the effect of more images.

    `interval` is None for a value without chance. `at` gives the interval for more images of the
    present kind. `source` names the origin of the interval.
    """

    value: float
    images: int
    source: str
    interval: Interval | None = None
    at: Callable[[int], Interval] | None = None


def estimate_measure(
    condition: Condition, run: Run, against: Run | None, confidence: float
) -> Estimate:
    """Return the measured value of `run`; drop and cost ratios compare with the run `against`.

    Raises:
        QuantError: the run has no labels, classes or metric, or the two runs have other images.
    """
    measure, score = condition.measure, run.evaluation
    if measure.is_cost:
        return _estimate_cost(condition, run, against)
    if measure is Measure.SQNR:
        scale = normal_quantile(confidence) / Z95
        if score.sqnr_db == math.inf:
            return Estimate(score.sqnr_db, score.samples, EXACT_SOURCE)
        return _scale_interval(score.sqnr_db, score.sqnr_ci95, score.samples, scale, ENERGY_SOURCE)
    if measure in (Measure.METRIC, Measure.LOSS):
        return _estimate_metric(measure, run, confidence)
    if measure is Measure.DROP and score.metric is not None and score.quantized_top1 is None:
        return _estimate_metric_drop(condition, run, against, confidence)
    if measure is Measure.DROP:
        return _estimate_drop(*count_lost_and_won(run, against), score.samples, confidence)
    share = score.quantized_top1 if measure is Measure.TOP1 else score.agreement
    if share is None or not score.classes:
        raise QuantError(_missing_measure_sentence(run, measure))
    return _estimate_share(share, score.samples, confidence)


def _estimate_drop(lost: int, won: int, images: int, confidence: float) -> Estimate:
    def at(count: int) -> Interval:
        more = count / images
        return paired_interval(lost * more, won * more, count, confidence)

    return Estimate((lost - won) / images, images, PAIRED_SOURCE, at(images), at)


def _estimate_share(share: float, images: int, confidence: float) -> Estimate:
    def at(count: int) -> Interval:
        return proportion_interval(share * count, count, confidence)

    return Estimate(share, images, PROPORTION_SOURCE, at(images), at)


def _estimate_cost(condition: Condition, run: Run, against: Run | None) -> Estimate:
    """Return a cost of one image, or the ratio to the other run's cost."""
    quantity = Quantity(str(condition.measure))
    value = quantity.value_in(run.cost)
    if not condition.is_relative:
        return Estimate(value, 0, COST_SOURCE)
    if against is None:
        raise QuantError(
            f"A condition in multiples needs a run to compare with; got {condition.text!r} alone. "
            "Name the run with --against."
        )
    if against.cost.machine != run.cost.machine:
        raise QuantError(
            f"Costs of two runs compare on one machine; got {machine_title(run.cost.machine)} and "
            f"{machine_title(against.cost.machine)}. Name one machine for both."
        )
    before = quantity.value_in(against.cost)
    if before <= 0:
        raise QuantError(f"A multiple needs a {quantity} above 0; {against.name} has {before:g}.")
    return Estimate(value / before, 0, COST_SOURCE)


def count_lost_and_won(run: Run, against: Run | None) -> tuple[int, int]:
    """Return the images (lost, won) against the float network, or against the other run.

    Raises:
        QuantError: a run has no labels, or the two were scored on other images.
    """
    score = run.evaluation
    if score.answers is None or not score.labelled:
        raise QuantError(_missing_measure_sentence(run, Measure.DROP))
    after = unpack_bits(score.answers.right, score.samples)
    if against is None:
        return count_changes(unpack_bits(score.answers.float_right, score.samples), after)
    if _run_identity(run) != _run_identity(against):
        raise QuantError(
            f"A drop against another run needs the same network and data; {against.name} was "
            f"scored on {against.evaluation.samples} {run.cost.noun}s of {against.data}, "
            f"{run.name} on {score.samples} of {run.data}, or on another network. Score both "
            "alike."
        )
    other = against.evaluation.answers
    if other is None or not against.evaluation.labelled:
        raise QuantError(_missing_measure_sentence(against, Measure.DROP))
    return count_changes(unpack_bits(other.right, score.samples), after)


def _run_identity(run: Run) -> tuple[str, str, int]:
    """Return the facts that two runs must share for a comparison image by image."""
    return run.model_digest, run.data_digest, run.evaluation.samples


def _missing_measure_sentence(run: Run, measure: Measure) -> str:
    """Return the sentence on a measure that is absent from a run."""
    if run.evaluation.labelled and run.evaluation.answers is None:
        return (
            f"{run.name} was kept by an older version, without its single answers. Score "
            "the run again."
        )
    needs = (
        "data with labels and a row of classes"
        if measure is not Measure.AGREEMENT
        else ("a row of classes")
    )
    return (
        f"A condition on {measure} needs {needs}; {run.name} has none. Name data with labels, or "
        "write a condition on sqnr or on a metric."
    )


def _estimate_metric(measure: Measure, run: Run, confidence: float) -> Estimate:
    """Return the metric of the quantized network, or the loss against the float network."""
    found, problem = run.evaluation.metric, run.evaluation.metric_problem
    if found is None:
        raise QuantError(
            problem or f"A condition on {measure} needs a metric; got none. Name one with --metric."
        )
    value, interval = found.quantized_value, found.quantized_ci95
    if measure is Measure.LOSS:
        value, interval = found.metric_loss, found.change_ci95
        if interval is not None and found.higher_is_better:
            interval = Interval(-interval.high, -interval.low)
    if interval is None:
        return Estimate(value, run.evaluation.samples, WHOLE_SOURCE)
    scale = normal_quantile(confidence) / Z95
    return _scale_interval(value, interval, run.evaluation.samples, scale, METRIC_SOURCE)


def _estimate_metric_drop(
    condition: Condition, run: Run, against: Run | None, confidence: float
) -> Estimate:
    """Return the drop of a task's metric against the float network, in shares of 1."""
    metric = run.evaluation.metric
    assert metric is not None
    loss = f"loss {condition.operator} ..."
    if not metric.share:
        raise QuantError(
            f"A drop is in points of a share; {metric.name} is none. Write {loss!r} in the unit of "
            f"{metric.name}."
        )
    if against is not None:
        raise QuantError(
            f"A drop of {metric.name} compares with the float network only; got --against "
            f"{against.name}. Leave --against out."
        )
    return _estimate_metric(Measure.LOSS, run, confidence)


def _scale_interval(
    value: float, interval: Interval | None, images: int, scale: float, source: str
) -> Estimate:
    """Return an estimate with a 95 % interval scaled by normal quantiles and by the images."""
    if interval is None:
        raise QuantError(f"An interval needs at least 4 answers; got {images}. Score more data.")
    below, above = scale * (value - interval.low), scale * (interval.high - value)

    def at(count: int) -> Interval:
        share = math.sqrt(images / count)
        return Interval(value - share * below, value + share * above)

    return Estimate(value, images, source, at(images), at)
