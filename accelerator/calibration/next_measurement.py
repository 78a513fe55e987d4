"""Choose the next network to measure, so that the present network's estimate gets more certain.

A measurement of a network with shares x adds x x' / noise^2 to the fit's curvature; by the formula
of Sherman and Morrison the covariance C becomes C - C x x' C / (noise^2 + x' C x). The result of
the measurement is not needed, only the shares of the network's energy or time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from accelerator.calibration.linear import multiply_by_vector
from accelerator.estimate import estimate_workload
from accelerator.interval import energy_factor_shares, latency_factor_shares, student_t_95
from accelerator.machine import Machine
from accelerator.parts import FitError
from accelerator.workload import Workload


@dataclass(frozen=True, slots=True)
class NextMeasurement:
    """A candidate, and the ratio of the interval's ends for the present network: now and after."""

    network: str
    quantity: str
    ratio_now: float
    ratio_after: float


def rank_next_measurements(
    machine: Machine, present: Workload, candidates: Mapping[str, Workload], quantity: str
) -> tuple[NextMeasurement, ...]:
    """Return the candidates, in order of the narrowing of the present network's interval.

    `quantity` is "energy" or "latency". A machine without a fit of the quantity gives an empty
    tuple.
    """
    error = getattr(machine.fit, quantity) if machine.fit else None
    if error is None:
        return ()
    target = _factor_shares(machine, present, quantity, error)
    now = _interval_ratio(target, error, _covariance_rows(error))
    found = []
    for name, workload in candidates.items():
        shares = _factor_shares(machine, workload, quantity, error)
        after = _interval_ratio(target, error, _updated_covariance(error, shares))
        found.append(NextMeasurement(name, quantity, now, after))
    return tuple(sorted(found, key=lambda one: one.ratio_after))


def _factor_shares(
    machine: Machine, workload: Workload, quantity: str, error: FitError
) -> list[float]:
    report = estimate_workload(workload, machine)
    shares = (
        energy_factor_shares(report.energy, report.layers)
        if quantity == "energy"
        else latency_factor_shares(machine, report.layers)
    )
    return [shares[name] for name in error.scales]


def _covariance_rows(error: FitError) -> list[list[float]]:
    size = len(error.scales)
    return [list(error.covariance[i * size : (i + 1) * size]) for i in range(size)]


def _updated_covariance(error: FitError, shares: list[float]) -> list[list[float]]:
    rows = _covariance_rows(error)
    moved = multiply_by_vector(rows, shares)
    total = error.noise**2 + sum(a * b for a, b in zip(shares, moved, strict=True))
    return [
        [value - moved[i] * moved[j] / total for j, value in enumerate(row)]
        for i, row in enumerate(rows)
    ]


def _interval_ratio(target: list[float], error: FitError, rows: list[list[float]]) -> float:
    """Return the upper over the lower end of the 90 % interval."""
    spread = sum(a * b for a, b in zip(target, multiply_by_vector(rows, target), strict=True))
    half = student_t_95(error.freedom) * math.sqrt(error.noise**2 + max(spread, 0.0))
    return math.exp(2 * half)
