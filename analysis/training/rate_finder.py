"""The learning-rate finder: some steps at growing rates, and the rate of the steepest fall."""

import math
from dataclasses import dataclass, replace

from analysis.training.run_training import TrainingTask, train_stage, training_start_stage
from quant.progress import Steps, part_of_progress
from quant.training.optimizer import rate_at_step

FINDER_STEPS = 40
LOWEST_RATE, HIGHEST_RATE = 1e-4, 1e-1
SMOOTHING = 0.8
"""Share of the past in the running mean of the loss (our choice)."""
WORSE = 1.0
"""Rates count until the smoothed loss has risen by this share over its least value."""


@dataclass(frozen=True, slots=True)
class RateCurve:
    """The smoothed loss at growing relative rates, and the rate where it falls most steeply.

    `steepest` is None where the loss never fell.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    steepest: float | None

    @property
    def sentence(self) -> str:
        """The finding in words."""
        if self.steepest is None:
            return (
                "The loss did not fall at any rate: the network may already be as good as these "
                "data make it."
            )
        return (
            f"The loss falls most at a rate of {self.steepest:.2g}. A short training bears it; "
            "a third of it is the safer choice for a long one."
        )


def find_learning_rate(task: TrainingTask) -> Steps[RateCurve]:
    """Train 40 steps at rates from 0.0001 to 0.1 and discard the result (Smith 2017)."""
    start = yield from part_of_progress(training_start_stage(task), 0.0, 0.3)
    settings = replace(
        task.settings,
        steps=FINDER_STEPS,
        rate=LOWEST_RATE,
        highest_rate=HIGHEST_RATE,
        watch_every=1,
        patience=0,
    )
    blind = replace(task.split, watch=task.split.watch.first(0))
    probe = replace(task, settings=settings, split=blind, points=[])
    state = yield from part_of_progress(train_stage(probe, start), 0.3, 1.0)
    points = [one for one in state.record.curve if one.loss is not None]
    rates = [rate_at_step(one.step - 1, settings) for one in points]
    return judge_rates(rates, [one.loss or 0.0 for one in points])


def judge_rates(rates: list[float], losses: list[float]) -> RateCurve:
    """Return the smoothed curve, and the steepest fall on the logarithm of the rate.

    >>> judge_rates([1e-3, 1e-2, 1e-1], [1.0, 0.2, 3.0]).steepest
    0.01
    """
    smooth: list[float] = []
    mean = 0.0
    for number, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smooth.append(mean / (1 - SMOOTHING**number))
    kept = len(smooth)
    least = math.inf
    for number, loss in enumerate(smooth):
        least = min(least, loss)
        if loss > (1 + WORSE) * least:
            kept = number
            break
    falls = {
        number: (smooth[number] - smooth[number - 1]) / math.log(rates[number] / rates[number - 1])
        for number in range(1, kept)
    }
    steepest = min(falls, key=lambda number: falls[number], default=0)
    found = rates[steepest] if falls and falls[steepest] < 0 else None
    return RateCurve(tuple(rates), tuple(smooth), found)
