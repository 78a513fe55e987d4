"""What noise at the output a choice of bits will make, and what accuracy that will cost.

Noise energies of layers quantized alone add up, to first order. Two things are learned from what
has been measured: how far whole networks differ from that sum (a line in dB), and how accuracy
falls with noise (a monotone curve). Both say how sure they are.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from analysis.bit_sums import Array
from analysis.evaluation import Evaluation
from analysis.measures import Z95, Interval
from analysis.questions import Sensitivity
from quant.errors import QuantError

# What is believed of sum and truth before anything is measured, as deviations in dB: our choice
# (uniform and mixed fashion-mobilenet lay 1.4 dB from the sum). Height and slope at MIDDLE_DB.
MIDDLE_DB = 20.0
OFFSET_DB, SLOPE, SCATTER_DB = 2.0, 0.1, 1.5
NEAR_DB = 4.0  # points this near tell how far single networks lie off the curve
CURVE_SCATTER, FAR_SCATTER = 0.01, 0.1  # least near points, and far from all: our choice
LEAST_SLOPE = -0.9  # a line that falls, learned from few points, would turn the order around
QUIETEST_DB, NOISIEST_DB = 90.0, -20.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network's output will be; intervals are of 95 %.

    `loss` is a share of 1: of top-1 accuracy, or of answers like the float network's where there
    are no labels (`labelled`). None where nothing measured tells how it follows from noise.
    """

    sqnr_db: float
    sqnr_ci95: Interval
    loss: float | None = None
    loss_ci95: Interval | None = None
    labelled: bool = True


@dataclass(frozen=True, slots=True)
class Point:
    """A measured network: its SQNR, what it lost, on how many images."""

    sqnr_db: float
    loss: float
    images: int


@dataclass(frozen=True, slots=True)
class Predictor:
    """What measured points teach: `pairs` of summed and measured SQNR, and `points` of loss."""

    points: tuple[Point, ...] = ()
    pairs: tuple[tuple[float, float], ...] = ()
    labelled: bool = True

    def predict(self, noise: float) -> Prediction:
        """Return what a sum of noise energies comes to."""
        summed = _decibel(noise)
        middle, deviation = self._correct(summed)
        low, high = middle - Z95 * deviation, middle + Z95 * deviation
        if not self.points:
            return Prediction(middle, Interval(low, high), labelled=self.labelled)
        spread = Z95 * self._spread(middle)
        return Prediction(
            middle,
            Interval(low, high),
            self.loss_at(middle),
            Interval(max(0.0, self.loss_at(high) - spread), min(1.0, self.loss_at(low) + spread)),
            self.labelled,
        )

    def learned(self, noise: float, measured: Evaluation) -> "Predictor":
        """Return a predictor that knows one more network, whose noise was summed to `noise`."""
        loss = loss_of(measured, labelled=self.labelled)
        if not math.isfinite(measured.sqnr_db) or noise <= 0:
            return self
        point = () if loss is None else (Point(measured.sqnr_db, loss, measured.samples),)
        pair = (_decibel(noise), measured.sqnr_db)
        return replace(self, points=(*self.points, *point), pairs=(*self.pairs, pair))

    def most_noise(self, loss: float) -> float:
        """Return the greatest sum of noise energies whose predicted loss is at most `loss`.

        Raises:
            QuantError: nothing measured tells how loss follows from noise.
        """
        if not self.points:
            raise QuantError(
                "How accuracy follows from noise must be known; no point is measured. Measure a "
                "few proposals, or sweep exactly."
            )
        summed = np.arange(NOISIEST_DB, QUIETEST_DB, 0.01)  # the noisiest first
        offset, slope = self._line()[0]
        expected = summed + offset + slope * (summed - MIDDLE_DB)
        losses = np.maximum(0.0, np.interp(-expected, *self._curve()))
        within = np.flatnonzero(losses <= loss)
        return float(10 ** (-summed[within[0]] / 10)) if len(within) else 0.0

    def _line(self) -> tuple[tuple[float, float], Array]:
        """Return height and slope of the correction in dB, and their covariance (Bayes)."""
        precision = np.diag([OFFSET_DB**-2.0, SLOPE**-2.0])
        moment = np.zeros(2)
        for one, measured in self.pairs:
            row = np.array([1.0, one - MIDDLE_DB])
            precision += np.outer(row, row) / SCATTER_DB**2
            moment += row * (measured - one) / SCATTER_DB**2
        covariance: Array = np.linalg.inv(precision)
        offset, slope = covariance @ moment
        return (float(offset), max(float(slope), LEAST_SLOPE)), covariance

    def _correct(self, summed: float) -> tuple[float, float]:
        """Return the SQNR to expect and its standard deviation, in dB."""
        (offset, slope), covariance = self._line()
        row = np.array([1.0, summed - MIDDLE_DB])
        variance = float(row @ covariance @ row) + SCATTER_DB**2
        return summed + offset + slope * (summed - MIDDLE_DB), math.sqrt(variance)

    def loss_at(self, sqnr_db: float) -> float:
        """Return the loss at a measured SQNR: between the steps of a monotone fit."""
        levels, losses = self._curve()
        return max(0.0, float(np.interp(-sqnr_db, levels, losses)))

    def _curve(self) -> tuple[Array, Array]:
        """Pool neighbours until loss rises with noise (isotonic regression, Barlow 1972)."""
        blocks: list[tuple[float, float, float]] = []  # weight, noise in dB, loss
        for point in sorted(self.points, key=lambda point: -point.sqnr_db):
            blocks.append((_weight(point), -point.sqnr_db, point.loss))
            while len(blocks) > 1 and blocks[-2][2] >= blocks[-1][2]:
                (w1, x1, y1), (w2, x2, y2) = blocks[-2:]
                total = w1 + w2
                blocks[-2:] = [(total, (w1 * x1 + w2 * x2) / total, (w1 * y1 + w2 * y2) / total)]
        return np.array([block[1] for block in blocks]), np.array([block[2] for block in blocks])

    def _spread(self, sqnr_db: float) -> float:
        """Return how far networks of about this noise lie off the curve, as a deviation."""
        near = [point for point in self.points if abs(point.sqnr_db - sqnr_db) <= NEAR_DB]
        if not near:
            return FAR_SCATTER
        levels, losses = self._curve()
        fitted = np.interp([-point.sqnr_db for point in near], levels, losses)
        errors = np.array([point.loss for point in near]) - fitted
        return max(CURVE_SCATTER, float(np.sqrt(np.mean(errors**2))))


def loss_of(measured: Evaluation, *, labelled: bool) -> float | None:
    """Return what a network lost: top-1 accuracy, or without labels likeness to float."""
    return measured.top1_drop if labelled else 1 - measured.agreement


def _weight(point: Point) -> float:
    variance = max(point.loss * (1 - point.loss), 0.01) / point.images
    return 1 / (variance + CURVE_SCATTER**2)


def _decibel(noise: float) -> float:
    return QUIETEST_DB if noise <= 0 else -10 * math.log10(noise)


def first_predictor(sensitivity: Sensitivity) -> Predictor:
    """Return what the sweep itself teaches: how much each layer's noise cost."""
    labelled = sensitivity.float_top1 is not None
    points = []
    for score in sensitivity.scores:
        loss = score.accuracy_drop if labelled else _less(score.agreement)
        if loss is not None and math.isfinite(score.sqnr_db):
            points.append(Point(score.sqnr_db, loss, score.images))
    return Predictor(tuple(points), labelled=labelled)


def _less(agreement: float | None) -> float | None:
    return None if agreement is None else 1 - agreement
