"""Predicts lost answers from the divergence of the outputs: a curve with two coefficients.

Harm is the mean KL divergence of the answers in nats; for outputs without classes, the noise as a
share of the signal. With s = sqrt(harm), the size of the noise, the share of unchanged answers is
exp(-a s - b s^3): images near a class border change first, in proportion to the noise, and at loud
noise all images change. Measured on five networks, KL divergence predicts the loss within 2 to 4
points, noise alone within 10.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.evaluation.measures import Array

MAX_LOST_SHARE = 0.98  # share of the largest loss beyond which the curve is flat
LEAST_VARIANCE = 0.02  # of one answer, which changes or stays
SCATTER = 0.01  # least standard deviation of losses around the curve
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Point:
    """A measured network: harm, loss as a share of 1, and the weight of the point in images."""

    harm: float
    loss: float
    images: float


@dataclass(frozen=True, slots=True)
class CoefficientPrior:
    """Both coefficients before the first measurement: means and standard deviations."""

    mean: tuple[float, float]
    deviation: tuple[float, float]


# Fitted on the sample networks: 0.21 and 0.31; of changed answers, 0.31 and 0.17. The choices of a
# search on five networks (benchmarks.prediction_accuracy) moved 0.25 of lost accuracy to 0.40.
ANSWERS = CoefficientPrior((0.25, 0.25), (0.12, 0.15))
ACCURACY = CoefficientPrior((0.10, 0.40), (0.10, 0.15))
BY_NOISE = CoefficientPrior((0.25, 1.0), (0.20, 0.8))


@dataclass(frozen=True, slots=True)
class LossCurve:
    """The curve: coefficients, their covariance, and the largest possible loss."""

    coefficients: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]]
    most: float

    def loss_at(self, harm: float) -> float:
        """Return the loss, a share of 1, at a harm."""
        return float(
            self.most * (1 - np.exp(-_loss_curve_terms(harm) @ np.array(self.coefficients)))
        )

    def loss_deviation(self, harm: float) -> float:
        """Return the standard deviation of the loss from the covariance of the coefficients."""
        terms = _loss_curve_terms(harm)
        rate = np.sqrt(max(float(terms @ np.array(self.covariance) @ terms), 0.0))
        return float(rate * (self.most - self.loss_at(harm)))

    def loss_per_db(self, harm: float) -> float:
        """Return the rise of the loss per dB of harm."""
        first, third = _loss_curve_terms(harm) * np.array(self.coefficients)
        return float((self.most - self.loss_at(harm)) * (first + 3 * third) / 2 * np.log(10) / 10)


def fit_loss_curve(points: Sequence[Point], prior: CoefficientPrior, most: float) -> LossCurve:
    """Return the curve through the points: Bayes with Gaussian priors, Gauss-Newton steps.

    Example:
        >>> curve = fit_loss_curve([], CoefficientPrior((0.0, 0.0), (1.0, 1.0)), most=1.0)
        >>> curve.loss_at(0.5)
        0.0
    """
    precision = np.diag(np.array(prior.deviation) ** -2.0)
    mean = np.array(prior.mean)
    terms = np.array([_loss_curve_terms(point.harm) for point in points]).reshape(-1, 2)
    losses = np.array([point.loss for point in points])
    images = np.array([point.images for point in points])
    coefficients, covariance = mean, np.linalg.inv(precision)
    for _ in range(ROUNDS if len(points) else 0):
        rates = terms @ coefficients
        unchanged = np.maximum(np.exp(-rates), 1 - MAX_LOST_SHARE)
        predicted = most * (1 - unchanged)
        spread = np.maximum(predicted * (1 - predicted), LEAST_VARIANCE) / images + SCATTER**2
        weights = (most * unchanged) ** 2 / spread
        targets = rates + (losses - predicted) / (most * unchanged)
        matrix = precision + (terms.T * weights) @ terms
        covariance = np.asarray(np.linalg.inv(matrix), np.float64)
        coefficients = _solve_nonnegative_pair(
            matrix, precision @ mean + terms.T @ (weights * targets)
        )
    (a, b), (c, d) = covariance.tolist()
    return LossCurve((float(coefficients[0]), float(coefficients[1])), ((a, b), (c, d)), most)


def _solve_nonnegative_pair(matrix: Array, right: Array) -> Array:
    """Solve two equations for coefficients >= 0, so that the loss never falls with harm."""
    solution: Array = np.asarray(np.linalg.solve(matrix, right), np.float64)
    for place in (0, 1):
        if solution[place] < 0:
            other = 1 - place
            solution = np.zeros(2)
            solution[other] = max(right[other] / matrix[other, other], 0.0)
            break
    return solution


def _loss_curve_terms(harm: float) -> Array:
    size = np.sqrt(max(harm, 0.0))
    return np.array([size, size**3])
