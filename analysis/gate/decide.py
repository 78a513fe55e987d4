"""Check the conditions of a run: each holds, is broken, or needs more images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scipy.special import ndtri

from analysis.evaluation.images_needed import images_needed
from analysis.evaluation.intervals import normal_quantile
from analysis.evaluation.measures import Interval
from analysis.gate.condition import Condition
from analysis.gate.estimate import Estimate, estimate_measure
from analysis.runs.run_store import Run
from quant.errors import ConfigError

POWER = 0.8
"""The share of trials in which a detectable value is called broken (our choice)."""


class GateOutcome(StrEnum):
    """The result of a condition."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Decision:
    """A condition and the measured value, in the unit of a run.

    `more_images` is the number of further images for a decision, None for a decided condition or
    for more than a million. `detectable` is the value that the images call broken in 80 % of
    trials. `noun` is the word for what one inference takes.
    """

    condition: Condition
    outcome: GateOutcome
    value: float
    interval: Interval | None
    confidence: float
    images: int
    source: str
    more_images: int | None = None
    detectable: float | None = None
    noun: str = "image"

    @property
    def decision_sentence(self) -> str:
        """The measured value and the result, in one sentence."""
        say = self.condition.in_unit
        text = f"{self.condition.measure} is {say(self.value)}"
        if self.interval is not None:
            ends = f"{say(self.interval.low)} to {say(self.interval.high)}"
            text += f" ({100 * self.confidence:.4g} %: {ends}; {self.images} {self.noun}s)"
        text += f": '{self.condition.text}' {_VERBS[self.outcome]}."
        if self.outcome is GateOutcome.UNDECIDED:
            text += (
                f" The value is too close to the limit for more {self.noun}s to decide."
                if self.more_images is None
                else f" About {self.more_images} {self.noun}s more would decide."
            )
        return text


_VERBS = {
    GateOutcome.HOLDS: "is excluded, the run holds",
    GateOutcome.BROKEN: "is shown, the run is broken",
    GateOutcome.UNDECIDED: "is neither shown nor excluded",
}


def check_run(
    run: Run, conditions: Sequence[Condition], against: Run | None = None, confidence: float = 0.95
) -> tuple[Decision, ...]:
    """Return a decision for each condition under which a run fails.

    A run is broken if the whole interval lies beyond the limit, and holds if no part does.
    `confidence` is the confidence of the conditions together: with k conditions subject to chance,
    each has the confidence 1 - (1 - confidence) / k (Bonferroni).

    Raises:
        QuantError: a condition needs facts that the runs lack.
        ConfigError: there is no condition, or the confidence is no share between 0.5 and 1.
    """
    if not conditions:
        raise ConfigError("A check needs at least one condition; got none. Name --fail-if.")
    if not 0.5 <= confidence < 1:
        raise ConfigError(
            f"The confidence must be at least 50 % and below 100 %; got {100 * confidence:g} %."
        )
    chances = sum(not one.measure.is_cost for one in conditions)
    single = 1 - (1 - confidence) / max(1, chances)
    return tuple(
        replace(
            decide_condition(one, estimate_measure(one, run, against, single), single),
            noun=run.cost.noun,
        )
        for one in conditions
    )


def decide_condition(condition: Condition, estimate: Estimate, confidence: float) -> Decision:
    """Return the decision on one condition from the measurement."""
    interval = estimate.interval
    low, high = (estimate.value,) * 2 if interval is None else (interval.low, interval.high)
    near, far = (low, high) if condition.fails_above else (high, low)
    outcome = GateOutcome.UNDECIDED
    if condition.breaks_condition(near):
        outcome = GateOutcome.BROKEN
    elif not condition.breaks_condition(far):
        outcome = GateOutcome.HOLDS
    more = None
    if outcome is GateOutcome.UNDECIDED and estimate.at is not None:
        total = images_needed(estimate.images, estimate.at, condition.limit)
        more = None if total is None else total - estimate.images
    detectable = None
    if interval is not None:
        reach = 1 + float(ndtri(POWER)) / normal_quantile(confidence)
        detectable = condition.limit + reach * (estimate.value - near)
    return Decision(
        condition,
        outcome,
        estimate.value,
        interval,
        confidence,
        estimate.images,
        estimate.source,
        more,
        detectable,
    )


def join_outcomes(decisions: Sequence[Decision]) -> GateOutcome:
    """Return the outcome of a run: broken if one condition is, else undecided if one is."""
    outcomes = {decision.outcome for decision in decisions}
    for outcome in (GateOutcome.BROKEN, GateOutcome.UNDECIDED):
        if outcome in outcomes:
            return outcome
    return GateOutcome.HOLDS
