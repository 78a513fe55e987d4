"""The loss of a quantized network in the metric of its task, in points, with the paired interval.

Top-1, mAP, mIoU, recall and AUC are shares of 1 and are told in points of 100. An error such as MAE
has a unit of its own; its rise is told in percent of the float network's error (our choice).
"""

from dataclasses import dataclass

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.measures import Interval
from analysis.evaluation.user_metric import MetricScore


def loss_digits(points: float) -> int:
    """Return the digits behind the point of a told loss: 0.15 points are neither 0.1 nor 0.2."""
    return 2 if abs(points) < 1 else 1


@dataclass(frozen=True, slots=True)
class LostScore:
    """Lost points of a metric with the 95 % interval in points, None without an interval.

    `unit` stands behind the number, such as "points of mAP" or "% of the float MAE".
    """

    points: float
    interval: Interval | None
    unit: str

    @property
    def lost_text(self) -> str:
        """The loss in words, such as "3.1 points of mAP (95 %: 2.2 to 4.0)".

        Example:
            >>> LostScore(3.1, Interval(2.2, 4.0), "points of mAP").lost_text
            '3.1 points of mAP (95 %: 2.2 to 4.0)'
        """
        digits = loss_digits(self.points)
        ends = ""
        if self.interval is not None:
            low, high = self.interval.low, self.interval.high
            ends = f" (95 %: {low:z.{digits}f} to {high:z.{digits}f})"
        return f"{self.points:z.{digits}f} {self.unit}{ends}"

    @property
    def loss_sentence(self) -> str:
        """The loss as a sentence without its full stop: lost or gained points."""
        if self.points >= 0:
            return f"Lost {self.lost_text}"
        ends = self.interval
        gained = None if ends is None else Interval(-ends.high, -ends.low)
        return f"Gained {LostScore(-self.points, gained, self.unit).lost_text}"


def lost_score(score: Evaluation) -> LostScore | None:
    """Return the loss in the task's metric, otherwise of top-1; None without either."""
    if score.metric is not None:
        return lost_metric(score.metric)
    if score.top1_drop is None:
        return None
    ends = score.top1_drop_ci95
    points = None if ends is None else Interval(100 * ends.low, 100 * ends.high)
    return LostScore(100 * score.top1_drop, points, "points of top-1")


def lost_unit(name: str, *, share: bool) -> str:
    """Return the unit of a loss in a metric: points of a share, or percent of the float error.

    >>> lost_unit("mAP", share=True)
    'points of mAP'
    """
    return f"points of {name}" if share else f"% of the float {name}"


def lost_metric(metric: MetricScore) -> LostScore | None:
    """Return the loss in a metric; None for an error of which the float network has none."""
    if not metric.share and not metric.float_value:
        return None
    factor = 100.0 if metric.share else 100 / abs(metric.float_value)
    unit = lost_unit(metric.name, share=metric.share)
    ends = metric.change_ci95
    if ends is None:
        interval = None
    elif metric.higher_is_better:
        interval = Interval(-factor * ends.high, -factor * ends.low)
    else:
        interval = Interval(factor * ends.low, factor * ends.high)
    return LostScore(factor * metric.metric_loss, interval, unit)


def metric_value_text(metric: MetricScore, value: float) -> str:
    """Return a value of a metric in words: shares in percent, others with four digits."""
    return f"{100 * value:.1f} %" if metric.share else f"{value:.4g}"


def measured_loss_share(measured: Evaluation, *, labelled: bool) -> float | None:
    """Return the measured loss, a share: of the task's metric, top-1, or agreement with float.

    Agreement stands for images without labels.
    """
    metric = None if labelled else share_metric(measured)
    if metric is not None:
        return metric.metric_loss
    return measured.top1_drop if labelled else 1 - measured.agreement


def share_metric(measured: Evaluation) -> MetricScore | None:
    """Return the metric of a task without top-1, such as mAP, where it is a share of 1."""
    metric = measured.metric
    told = metric is not None and metric.share and metric.higher_is_better
    return metric if told and measured.quantized_top1 is None else None
