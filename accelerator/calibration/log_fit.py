"""Least squares in log error for positive factors on the parts of an estimate.

An estimate is a sum of parts, each times a factor s_k > 0. The fit minimises

    sum_i (log y_i - log f_i(s))^2 / noise^2  +  (log s)' P^-1 (log s)

over log s, so that every factor stays positive, by Gauss-Newton steps. The derivative of log f_i by
log s_k is the share of part k in estimate i. P is the prior: the factors may share an error of
`COMMON` (a machine with numbers too small throughout), and a factor has a separate error besides. A
few rows then move the factors they tell apart, and leave the rest at the machine's values.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from accelerator.calibration.linear import (
    Matrix,
    invert_matrix,
    multiply_by_vector,
)

COMMON = 2.3
"""Prior standard deviation of the logarithm that all factors share: a factor of ten (ours)."""
OWN = 0.5
"""Prior standard deviation of the logarithm of one factor beside the others (our choice)."""
UNKNOWN = 1.5
"""The same for a constant that the base machine does not have (our choice)."""
NOISE, NOISE_FREEDOM = 0.10, 3.0
"""Prior of what a right model leaves, as a logarithm, and how many rows that knowledge is worth:
measurements of MLPerf Tiny lie within some 10 % of the models that follow a chip's structure."""
_STEPS, _NOISE_STEPS, _SMALL = 25, 6, 1e-9

Shares = list[float]
Evaluate = Callable[[list[float]], list[tuple[float, Shares]]]
"""From the logarithms of the factors to (log of the estimate, share of each part), row by row."""


@dataclass(frozen=True, slots=True)
class NoisePrior:
    """What a right model leaves, how many rows that knowledge is worth, and doubt of the model.

    `noise` and `doubt` are standard deviations of logarithms; rows do not lessen the doubt.
    """

    noise: float = NOISE
    freedom: float = NOISE_FREEDOM
    doubt: float = 0.0


EXPECTED = NoisePrior()


@dataclass(frozen=True, slots=True)
class LogFit:
    """Logarithms of the factors, the covariance, the remaining noise and the degrees of freedom.

    `misfit` is the minimum reached: squares of residuals over noise, and of factors over priors.
    `residuals` are log(measured) - log(estimated), row by row; `shares` are the shares of the parts
    in each estimate.
    """

    logs: list[float]
    covariance: Matrix
    noise: float
    freedom: float
    misfit: float
    residuals: list[float]
    shares: list[Shares]


@dataclass(frozen=True, slots=True)
class FactorFit:
    """The factors fitted, the fit, and the spread of log(measured / estimated) before the fit."""

    scales: tuple[str, ...]
    fit: LogFit
    spread: float


Fits = dict[str, FactorFit]
"""For energy and latency."""


def fit_log_factors(
    evaluate: Evaluate,
    targets: Sequence[float],
    prior: Matrix,
    expected: NoisePrior = EXPECTED,
    start: Sequence[float] = (),
) -> LogFit:
    """Fit the logarithms of factors to the logarithms `targets` of measured values.

    The walk begins at `start`; without one, at 0.
    """
    inverse_prior = invert_matrix(prior)
    logs, noise = list(start) or [0.0] * len(prior), expected.noise
    for _ in range(_NOISE_STEPS):
        logs, covariance, rows = _minimise_objective(evaluate, targets, inverse_prior, logs, noise)
        residuals = [t - value for t, (value, _) in zip(targets, rows, strict=True)]
        used = _count_parameters_used(covariance, rows, noise)
        freedom = expected.freedom + max(len(targets) - used, 0.0)
        square = expected.freedom * expected.noise**2 + sum(r * r for r in residuals)
        noise, before = math.sqrt(square / freedom), noise
        if abs(noise - before) < 1e-4 * before:
            break
    shares = [row_shares for _, row_shares in rows]
    spread = math.hypot(noise, expected.doubt)
    value = _objective_value(rows, targets, inverse_prior, logs, expected.noise)
    return LogFit(logs, covariance, spread, freedom, value, residuals, shares)


def sum_scaled_parts(
    parts: Sequence[Sequence[float]], logs: Sequence[float]
) -> list[tuple[float, list[float]]]:
    """Return, by row, the logarithm of the sum and the shares of scaled parts.

    A row may end with a part without a factor.
    """
    factors = [math.exp(value) for value in logs]
    rows = []
    for row in parts:
        terms = [factor * part for factor, part in zip(factors, row, strict=False)]
        total = sum(terms) + sum(row[len(factors) :])
        rows.append((math.log(total), [term / total for term in terms]))
    return rows


def prior_covariance(own: Sequence[float], common: Sequence[bool]) -> Matrix:
    """Return the prior of factors with separate errors `own`, and a shared error for `common`."""
    size = len(own)
    return [
        [
            (own[i] ** 2 if i == j else 0.0) + (COMMON**2 if common[i] and common[j] else 0.0)
            for j in range(size)
        ]
        for i in range(size)
    ]


def _minimise_objective(
    evaluate: Evaluate,
    targets: Sequence[float],
    inverse_prior: Matrix,
    logs: list[float],
    noise: float,
) -> tuple[list[float], Matrix, list[tuple[float, Shares]]]:
    """Walk to the minimum; return the logarithms, the covariance and the rows there."""
    rows = evaluate(logs)
    value = _objective_value(rows, targets, inverse_prior, logs, noise)
    for _ in range(_STEPS):
        curvature, slope = _normal_equations(rows, targets, inverse_prior, logs, noise)
        step = multiply_by_vector(invert_matrix(curvature), slope)
        length = 1.0
        while length > 1e-3:
            trial = [a + length * b for a, b in zip(logs, step, strict=True)]
            tried = evaluate(trial)
            reached = _objective_value(tried, targets, inverse_prior, trial, noise)
            if reached <= value:
                break
            length /= 2
        else:
            break
        logs, rows, gain, value = trial, tried, value - reached, reached
        if gain < _SMALL:
            break
    curvature, _ = _normal_equations(rows, targets, inverse_prior, logs, noise)
    return logs, invert_matrix(curvature), rows


def _objective_value(
    rows: list[tuple[float, Shares]],
    targets: Sequence[float],
    inverse_prior: Matrix,
    logs: list[float],
    noise: float,
) -> float:
    misfit = sum((t - value) ** 2 for t, (value, _) in zip(targets, rows, strict=True))
    pull = multiply_by_vector(inverse_prior, logs)
    return misfit / noise**2 + sum(a * b for a, b in zip(logs, pull, strict=True))


def _normal_equations(
    rows: list[tuple[float, Shares]],
    targets: Sequence[float],
    inverse_prior: Matrix,
    logs: list[float],
    noise: float,
) -> tuple[Matrix, list[float]]:
    """Return the curvature and the downhill slope of half the objective."""
    size, weight = len(logs), 1 / noise**2
    curvature = [row[:] for row in inverse_prior]
    slope = [-value for value in multiply_by_vector(inverse_prior, logs)]
    for target, (value, shares) in zip(targets, rows, strict=True):
        for i in range(size):
            slope[i] += weight * shares[i] * (target - value)
            for j in range(size):
                curvature[i][j] += weight * shares[i] * shares[j]
    return curvature, slope


def _count_parameters_used(
    covariance: Matrix, rows: list[tuple[float, Shares]], noise: float
) -> float:
    """Return the number of factors determined by the rows: the trace of the hat matrix."""
    total = 0.0
    for _, shares in rows:
        total += sum(
            a * b for a, b in zip(shares, multiply_by_vector(covariance, shares), strict=True)
        )
    return total / noise**2
