"""The score that a person is told: the task's metric, otherwise top-1, agreement or output SQNR.

Scores that stand beside each other are told in one measure, which all of them have.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.measures import Interval
from analysis.evaluation.user_metric import MetricScore

SAME_POINTS = 0.005  # what would be written as 0.00 points
SAME_DB = 0.05  # what would be written as 0.0 dB
EXACT_DB = 150.0  # where figures draw outputs without any error, whose SQNR is infinite
SAME_PART = 5e-4  # of a value that is written with four digits


class ScoreMeasure(StrEnum):
    """What a score measures, in the order of preference."""

    METRIC = "metric"
    TOP1 = "top-1"
    AGREEMENT = "agreement with float"
    SQNR = "output SQNR"


class ScoreUnit(StrEnum):
    """The unit of a score: a share of 1 told in percent, decibels, or the metric's own unit."""

    PERCENT = "%"
    DECIBEL = "dB"
    OWN = ""


_AXES = {
    ScoreMeasure.TOP1: "Top-1 accuracy",
    ScoreMeasure.AGREEMENT: "Same answer as the float network",
    ScoreMeasure.SQNR: "Output SQNR",
}


@dataclass(frozen=True, slots=True)
class ToldScore:
    """A score of a quantized network in the measure of which a person thinks.

    `value`, `interval` (95 %) and `float_value` are shares of 1 where `unit` is percent. `change`
    is the paired 95 % interval of quantized minus float. None means that it was not measured.

    Example:
        >>> ToldScore(ScoreMeasure.METRIC, "MAE", 0.0123, ScoreUnit.OWN, False).value_text
        '0.0123'
    """

    measure: ScoreMeasure
    name: str
    value: float
    unit: ScoreUnit = ScoreUnit.PERCENT
    higher_is_better: bool = True
    interval: Interval | None = None
    float_value: float | None = None
    float_interval: Interval | None = None
    change: Interval | None = None

    @property
    def scale(self) -> float:
        """The factor from a value to the number on screen: 100 for a share."""
        return 100.0 if self.unit is ScoreUnit.PERCENT else 1.0

    @property
    def unit_label(self) -> str:
        """The measure with its unit, such as "mAP %", "MAE" or "output SQNR dB"."""
        return f"{self.name} {self.unit}".rstrip()

    @property
    def axis_title(self) -> str:
        """The title of an axis with unit and direction, such as "mAP (%), higher is better"."""
        name = _AXES.get(self.measure, self.name)
        unit = f" ({self.unit})" if self.unit else ""
        return f"{name}{unit}, {'higher' if self.higher_is_better else 'lower'} is better"

    @property
    def value_text(self) -> str:
        """The value with its unit, such as "85.00 %", "0.0123" or "exact"."""
        return self.amount_text(self.value)

    @property
    def interval_text(self) -> str:
        """The 95 % interval of the value in words; empty without an interval."""
        return f"95 % interval {self.interval_ends}" if self.interval_ends else ""

    @property
    def interval_ends(self) -> str:
        """Both ends of the 95 % interval, for a column that is called so; empty without one."""
        if self.interval is None:
            return ""
        low, high = (self.amount_text(end) for end in (self.interval.low, self.interval.high))
        return f"{low.removesuffix(f' {self.unit}')} to {high}"

    @property
    def loss_interval(self) -> Interval | None:
        """The paired 95 % interval of the loss against float: above 0 is worse."""
        ends = self.change
        if ends is None or not self.higher_is_better:
            return ends
        return Interval(-ends.high, -ends.low)

    @property
    def loses_measurably(self) -> bool:
        """Whether the whole paired interval is worse than the float network."""
        ends = self.loss_interval
        return ends is not None and ends.low > 0

    def axis_value(self, amount: float) -> float:
        """Return the place of an amount on an axis: finite, and in percent for a share."""
        place = self.scale * amount
        return place if math.isfinite(place) else math.copysign(EXACT_DB, place)

    def amount_text(self, amount: float, digits: int = 2) -> str:
        """Return an amount in the score's unit; shares have `digits` behind the point."""
        if self.unit is ScoreUnit.PERCENT:
            return f"{100 * amount:z.{digits}f} %"
        if self.unit is ScoreUnit.DECIBEL:
            return f"{amount:z.1f} dB" if math.isfinite(amount) else "exact"
        return f"{amount:.4g}"

    def step_text(self, change: float, digits: int = 2) -> str:
        """Return a change of the value without sign, such as "3.10 points of mAP"."""
        size = abs(change)
        if self.unit is ScoreUnit.PERCENT:
            return f"{100 * size:.{digits}f} points of {self.name}"
        return f"{self.amount_text(size)} of {self.name}"

    def is_same_value(self, other: float) -> bool:
        """Whether two values would be written with equal digits, or nearly so."""
        if self.value == other:
            return True
        smallest = {
            ScoreUnit.PERCENT: SAME_POINTS / 100,
            ScoreUnit.DECIBEL: SAME_DB,
            ScoreUnit.OWN: SAME_PART * max(abs(self.value), abs(other)),
        }
        return abs(self.value - other) < smallest[self.unit]

    def gain_over(self, other: "ToldScore") -> float:
        """Return the improvement over another score of this measure: above 0 is better."""
        if self.value == other.value:  # two exact outputs, whose difference is no number
            return 0.0
        change = self.value - other.value
        return change if self.higher_is_better else -change


def told_score(score: Evaluation) -> ToldScore:
    """Return the score that a person is told.

    It is the task's metric, otherwise top-1, agreement with float, or the SQNR of the output.
    """
    return told_scores((score,))[0]


def told_scores(scores: Sequence[Evaluation]) -> tuple[ToldScore, ...]:
    """Return the scores in the first measure that all of them have.

    Raises:
        ValueError: there is no score.
    """
    if not scores:
        raise ValueError("A measure needs scores; got none.")
    metrics = [score.metric for score in scores if score.metric is not None]
    kinds = {(one.name, one.higher_is_better, one.share) for one in metrics}
    if len(metrics) == len(scores) and len(kinds) == 1:
        return tuple(map(_told_metric, metrics))
    if all(score.quantized_top1 is not None for score in scores):
        return tuple(map(_told_top1, scores))
    if all(score.classes for score in scores):
        return tuple(
            ToldScore(
                ScoreMeasure.AGREEMENT,
                ScoreMeasure.AGREEMENT.value,
                score.agreement,
                interval=score.agreement_ci95,
                float_value=1.0,
            )
            for score in scores
        )
    return tuple(told_sqnr(score.sqnr_db, score.sqnr_ci95) for score in scores)


def told_sqnr(decibels: float, interval: Interval | None = None) -> ToldScore:
    """Return the SQNR of an output as a score; the float network has none."""
    return ToldScore(
        ScoreMeasure.SQNR, ScoreMeasure.SQNR.value, decibels, ScoreUnit.DECIBEL, interval=interval
    )


def unequal_measures_sentence(scores: Sequence[Evaluation]) -> str:
    """Return by what scores of different measures are compared; empty for one measure."""
    own = list(dict.fromkeys(told_score(score).name for score in scores))
    common = told_scores(scores)[0].name
    missing = [name for name in own if name != common]
    if not missing:
        return ""
    return f"Not every run was scored by {' and '.join(missing)}: compared is {common}, of all."


def _told_metric(metric: MetricScore) -> ToldScore:
    return ToldScore(
        ScoreMeasure.METRIC,
        metric.name,
        metric.quantized_value,
        ScoreUnit.PERCENT if metric.share else ScoreUnit.OWN,
        higher_is_better=metric.higher_is_better,
        interval=metric.quantized_ci95,
        float_value=metric.float_value,
        float_interval=metric.float_ci95,
        change=metric.change_ci95,
    )


def _told_top1(score: Evaluation) -> ToldScore:
    drop = score.top1_drop_ci95
    return ToldScore(
        ScoreMeasure.TOP1,
        ScoreMeasure.TOP1.value,
        score.quantized_top1 or 0.0,
        interval=score.quantized_top1_ci95,
        float_value=score.float_top1,
        float_interval=score.float_top1_ci95,
        change=None if drop is None else Interval(-drop.high, -drop.low),
    )
