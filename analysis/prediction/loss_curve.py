"""How answers follow from harm: a curve with two coefficients, learned from what was measured.

Harm is the mean KL divergence of the answers in nats (of outputs that are no classes, the noise as
a share of the signal). With s = sqrt(harm), the size of the noise, the share of answers kept is
exp(-a s - b s^3): images near a border change first, as many as the noise is large, then all.
Measured on five networks, KL divergence tells the loss within 2 to 4 points, noise alone within 10.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.evaluation.measures import Array

MOST_LOST = 0.98  # of what can be lost: beyond it the curve is flat
LEAST_VARIANCE = 0.02  # of one answer, changed or not
SCATTER = 0.01  # of losses beside the curve at the least
ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Point:
    """A measured network: its harm, what it lost as a share of 1, worth how many images."""

    harm: float
    loss: float
    images: float


@dataclass(frozen=True, slots=True)
class Believed:
    """Both coefficients before anything is measured: what they are, and how far they may be off."""

    mean: tuple[float, float]
    deviation: tuple[float, float]


# Coefficients found on the sample networks: 0.21 and 0.31, 0.31 and 0.17 of answers changed.
ANSWERS = Believed((0.25, 0.25), (0.12, 0.15))
ACCURACY = Believed((0.10, 0.25), (0.10, 0.15))
BY_NOISE = Believed((0.25, 1.0), (0.20, 0.8))


@dataclass(frozen=True, slots=True)
class LossCurve:
    """The curve: its coefficients, their covariance, and all that can be lost."""

    coefficients: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]]
    most: float

    def at(self, harm: float) -> float:
        """Return the loss at a harm."""
        return float(self.most * (1 - np.exp(-_terms(harm) @ np.array(self.coefficients))))

    def deviation(self, harm: float) -> float:
        """Return how far the loss may be off as the coefficients may be."""
        terms = _terms(harm)
        rate = np.sqrt(max(float(terms @ np.array(self.covariance) @ terms), 0.0))
        return float(rate * (self.most - self.at(harm)))

    def steepness(self, harm: float) -> float:
        """Return by how much the loss rises with each dB of harm."""
        first, third = _terms(harm) * np.array(self.coefficients)
        return float((self.most - self.at(harm)) * (first + 3 * third) / 2 * np.log(10) / 10)


def fit(points: Sequence[Point], believed: Believed, most: float) -> LossCurve:
    """Return the curve after the points: Bayes with Gaussians, by Gauss and Newton's steps."""
    precision = np.diag(np.array(believed.deviation) ** -2.0)
    mean = np.array(believed.mean)
    terms = np.array([_terms(point.harm) for point in points]).reshape(-1, 2)
    losses = np.array([point.loss for point in points])
    images = np.array([point.images for point in points])
    found, covariance = mean, np.linalg.inv(precision)
    for _ in range(ROUNDS if len(points) else 0):
        rates = terms @ found
        kept = np.maximum(np.exp(-rates), 1 - MOST_LOST)
        guessed = most * (1 - kept)
        spread = np.maximum(guessed * (1 - guessed), LEAST_VARIANCE) / images + SCATTER**2
        weights = (most * kept) ** 2 / spread
        wanted = rates + (losses - guessed) / (most * kept)
        matrix = precision + (terms.T * weights) @ terms
        covariance = np.asarray(np.linalg.inv(matrix), np.float64)
        found = _not_below_0(matrix, precision @ mean + terms.T @ (weights * wanted))
    (a, b), (c, d) = covariance.tolist()
    return LossCurve((float(found[0]), float(found[1])), ((a, b), (c, d)), most)


def _not_below_0(matrix: Array, right: Array) -> Array:
    """Solve two equations for coefficients from 0 on, so that the loss never falls with harm."""
    found: Array = np.asarray(np.linalg.solve(matrix, right), np.float64)
    for place in (0, 1):
        if found[place] < 0:
            other = 1 - place
            found = np.zeros(2)
            found[other] = max(right[other] / matrix[other, other], 0.0)
            break
    return found


def _terms(harm: float) -> Array:
    size = np.sqrt(max(harm, 0.0))
    return np.array([size, size**3])
