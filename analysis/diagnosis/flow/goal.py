"""The goal of a diagnosis: the allowed loss in the task's metric, in points."""

import re
from dataclasses import dataclass
from enum import StrEnum

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.lost_score import lost_score
from analysis.evaluation.measures import Interval
from quant.errors import ConfigError, QuantError

_GOAL = re.compile(r"\s*(?:drop\s*<=\s*)?(\d+(?:\.\d*)?|\.\d+)\s*")


def points_text(count: float) -> str:
    """Return a number of points in words, such as "1 point" or "0.5 points"."""
    return "1 point" if count == 1 else f"{count:g} points"


NAME_TASK = "Name the task with --task and --targets, or on Model."


class Standing(StrEnum):
    """Where a measured loss stands beside the goal, by the paired interval of 95 %."""

    KEPT = "kept"
    UNDECIDED = "undecided"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Goal:
    """The largest allowed loss of top-1, or of the task's metric, in points of 100."""

    points: float = 1.0

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            ConfigError: the points are not between 0 and 100.
        """
        if not 0 <= self.points <= 100:
            raise ConfigError(f"A goal must lie between 0 and 100 points; got {self.points:g}.")

    @property
    def goal_text(self) -> str:
        """The goal in the words of the command line, such as "drop <= 1"."""
        return f"drop <= {self.points:g}"

    @property
    def in_words(self) -> str:
        """The goal for a reader, such as "at most 1 point lost"."""
        return f"at most {self.points:g} {'point' if self.points == 1 else 'points'} lost"


@dataclass(frozen=True, slots=True)
class Loss:
    """The lost points of the task's metric, with the paired interval of 95 % in points.

    `unit` names the metric. Without labels the share of images with another answer than the float
    network stands for the loss, as an upper bound; then `labelled` is False.
    """

    points: float
    interval: Interval
    labelled: bool = True
    unit: str = "points"

    @property
    def loss_text(self) -> str:
        """The loss in words, such as "1.2 points (95 %: 0.8 to 1.6)"."""
        unit = self.unit if self.labelled else "% of the answers"
        low, high = self.interval.low, self.interval.high
        return f"{self.points:z.2f} {unit} (95 %: {low:z.2f} to {high:z.2f})"


def read_goal(text: str) -> Goal:
    """Return the goal in a text such as "drop <= 1.0".

    Example:
        >>> read_goal("drop <= 0.5").points
        0.5

    Raises:
        ConfigError: the text is no goal.
    """
    found = _GOAL.fullmatch(text)
    if found is None:
        raise ConfigError(
            f'A goal must read "drop <= 1.0", in points of top-1; got {text[:40]!r}. Correct it.'
        )
    return Goal(float(found[1]))


def loss_of(score: Evaluation) -> Loss:
    """Return the loss in an evaluation.

    Raises:
        QuantError: the output of the network is no row of classes, and the task has no metric.
    """
    found = lost_score(score) if score.metric is not None else None
    if found is not None and found.interval is not None:
        return Loss(found.points, found.interval, unit=found.unit)
    if not score.classes:
        raise QuantError(
            "A diagnosis needs a network that gives a number for each class, or a task with a "
            f"metric on at least 4 answers; got neither. {score.metric_problem or NAME_TASK}"
        )
    drop, interval = score.top1_drop, score.top1_drop_ci95
    if drop is not None and interval is not None:
        return Loss(100 * drop, Interval(100 * interval.low, 100 * interval.high))
    same = score.agreement_ci95
    bounds = Interval(100 * (1 - same.high), 100 * (1 - same.low))
    return Loss(100 * (1 - score.agreement), bounds, labelled=False)


def standing_of(loss: Loss, goal: Goal) -> Standing:
    """Return whether the interval of a loss lies within the goal, beyond the goal, or across."""
    if loss.interval.high <= goal.points:
        return Standing.KEPT
    return Standing.LOST if loss.interval.low > goal.points else Standing.UNDECIDED
