"""Learning rates in proportion to a tensor's size, and the schedule over the steps."""

import math
from collections.abc import Sequence

from torch import optim

from quant.training.learned_encoding import RatedParameter
from quant.training.settings import OptimizerKind, TrainingSettings

BETAS = (0.9, 0.99)
MOMENTUM = 0.9
LEAST_SHARE = 0.01
"""The cosine ends at this share of the rate."""
SGD_FACTOR = 3.0
"""SGD's rate is this times the relative rate, for a loss near 1 (our choice)."""


def make_optimizer(rated: Sequence[RatedParameter], settings: TrainingSettings) -> optim.Optimizer:
    """Return the optimizer, with a group for each parameter.

    Adam moves a value by about the rate, so the rate is a share of the tensor's size. SGD moves a
    value by rate x gradient, and the gradient falls as the tensor grows: the rate grows with the
    square of the size. So both treat a network and the equalized form alike.
    """
    if settings.optimizer is OptimizerKind.SGD:
        groups = [{"params": [one.parameter], "unit": SGD_FACTOR * one.unit**2} for one in rated]
        return optim.SGD(groups, lr=settings.rate, momentum=MOMENTUM)
    groups = [{"params": [one.parameter], "unit": one.unit} for one in rated]
    return optim.Adam(groups, lr=settings.rate, betas=BETAS, eps=1e-12)


def rate_at_step(step: int, settings: TrainingSettings) -> float:
    """Return the relative rate of a step, counted from 0."""
    if settings.highest_rate:
        passed = step / max(1, settings.steps - 1)
        return settings.rate * float((settings.highest_rate / settings.rate) ** passed)
    warm = min(settings.warm_up, max(1, settings.steps // 4))
    rising = min(1.0, (step + 1) / warm) if warm else 1.0
    if settings.constant_rate:
        return settings.rate * rising
    share = step / max(1, settings.steps)
    falling = LEAST_SHARE + (1 - LEAST_SHARE) * 0.5 * (1 + math.cos(math.pi * share))
    return settings.rate * rising * falling


def set_group_rates(optimizer: optim.Optimizer, rate: float) -> None:
    """Give each group the relative rate times the group's unit."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["unit"]
