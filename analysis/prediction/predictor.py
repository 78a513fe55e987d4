"""What noise at the output a choice of bits will make, and what accuracy that will cost.

What layers do alone adds up, to first order: noise energies, and KL divergences of the answers.
Measured networks correct both sums (`correction`), the loss follows from the corrected divergence
by a curve (`loss_curve`), and how far single networks lie off that curve is learned as well. All of
it says how sure it is.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.measures import Z95, Interval
from analysis.prediction.gaussian_process import Expected, KnownLevel, Prior, Shares, correct
from analysis.prediction.loss_curve import ACCURACY, ANSWERS, BY_NOISE, LossCurve, Point, fit
from analysis.prediction.noise_table import Summed
from analysis.sensitivity.sweep import CellScore, Sensitivity
from quant.errors import QuantError

# Before anything is measured, our choice: on four sample networks and 50 configurations of each,
# sums of noise were 1.4 dB off (root mean square), sums of divergences 1.7 dB.
NOISE_PRIOR = Prior(0.5, 1.0, 0.8, 1.9)
HARM_PRIOR = Prior(1.5, 1.2, 0.8, 2.2)
CURVE_PRIOR = Prior(0.0, 0.0, 0.0, 1.4)
LEVEL_DB = 0.7  # how well a level of noise or harm can be measured on other images
MOST_NOISE = 3.0  # of the signal: where noise saturates
QUIETEST_DB, NOISIEST_DB = 90.0, -20.0
LEAST_SLOPE = 1e-4  # of the loss in a dB: below it a loss tells nothing of the level
STEP_DB = 0.25
WORTH = 10  # points that a sweep is worth: all its layers are judged on the same images


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
class Taught:
    """A measured network: what its layers make together as summed, and what was found."""

    summed: Summed
    sqnr_db: float
    harm: float | None
    loss: float | None
    images: int


@dataclass(frozen=True, slots=True)
class Predictor:
    """What `points` of layers alone and measured networks teach.

    `by_divergence` says that harm is a KL divergence; `most` is all that can be lost, a share.
    """

    points: tuple[Point, ...] = ()
    networks: tuple[Taught, ...] = ()
    labelled: bool = True
    by_divergence: bool = False
    most: float = 1.0

    @property
    def measured(self) -> int:
        """How many points tell how loss follows from harm."""
        return len(self.points) + sum(one.loss is not None for one in self.networks)

    def predict(self, summed: Summed) -> Prediction:
        """Return what comes of what the layers do alone."""
        return _Fitted(self).predict(summed)

    def learned(self, summed: Summed, measured: Evaluation) -> "Predictor":
        """Return a predictor that knows one more network."""
        loss = loss_of(measured, labelled=self.labelled)
        if not math.isfinite(measured.sqnr_db) or not summed.energy > 0:
            return self
        harm = measured.kl if self.by_divergence else 10 ** (-measured.sqnr_db / 10)
        one = Taught(summed, measured.sqnr_db, harm, loss, measured.samples)
        most = measured.float_top1 if self.labelled and measured.float_top1 else self.most
        return replace(self, networks=(*self.networks, one), most=most)

    def most_noise(self, loss: float, like: Summed) -> float:
        """Return the greatest energy of a mixture `like` this whose predicted loss is `loss`.

        Raises:
            QuantError: nothing measured tells how loss follows from noise.
        """
        if not self.measured:
            raise QuantError(
                "How accuracy follows from noise must be known; no point is measured. Measure a "
                "few proposals, or sweep exactly."
            )
        fitted = _Fitted(self)

        def within(level: float) -> bool:
            return fitted.expect(like.scaled(energy_of(level) / like.energy))[1] <= loss

        levels = np.arange(NOISIEST_DB, QUIETEST_DB, STEP_DB)  # the noisiest first
        first = next((float(level) for level in levels if within(level)), None)
        if first is None:
            return 0.0
        low, high = first - STEP_DB, first
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (low, middle) if within(middle) else (middle, high)
        return energy_of(high)


class _Fitted:
    """A predictor with its curve fitted and its corrections at hand."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        known = predictor.networks
        self.noise = [
            KnownLevel(saturated_db(one.summed.energy), one.summed.shares, off, LEVEL_DB)
            for one in known
            if math.isfinite(off := max(one.sqnr_db, NOISIEST_DB) - saturated_db(one.summed.energy))
        ]
        self.harm = [
            KnownLevel(level, one.summed.shares, decibel(one.harm) - level, LEVEL_DB)
            for one in known
            if one.harm is not None and math.isfinite(level := self._sum_db(one.summed))
        ]
        self.curve = self._fit()
        self.beside = [found for one in known if (found := self._beside(one)) is not None]

    def _sum_db(self, summed: Summed) -> float:
        """Return the harm as summed, in dB; the louder the lower, as SQNR is."""
        if not self.predictor.by_divergence:
            return saturated_db(summed.energy)
        return math.nan if summed.divergence is None else decibel(summed.divergence)

    def _fit(self) -> LossCurve:
        """Fit the curve to layers alone and to networks; older runs have no harm of their own."""
        predictor = self.predictor
        points = list(predictor.points)
        for one in predictor.networks:
            harm = one.harm if one.harm is not None else energy_of(self._harm_db(one.summed))
            if one.loss is not None and math.isfinite(harm):
                points.append(Point(harm, one.loss, one.images))
        believed = ACCURACY if predictor.labelled else ANSWERS
        return fit(points, believed if predictor.by_divergence else BY_NOISE, predictor.most)

    def _beside(self, one: Taught) -> KnownLevel | None:
        """Return how many dB more or less harm would explain a network's loss."""
        if one.harm is None or one.loss is None:
            return None
        slope, guessed = self.curve.steepness(one.harm), self.curve.at(one.harm)
        if slope < LEAST_SLOPE:
            return None
        spread = math.sqrt(max(guessed * (1 - guessed), 0.01) / one.images)
        off = (guessed - one.loss) / slope
        return KnownLevel(decibel(one.harm), one.summed.shares, off, spread / slope)

    def _harm_db(self, summed: Summed) -> float:
        return correct(HARM_PRIOR, self.harm, self._sum_db(summed), summed.shares).level_db

    def expect(self, summed: Summed) -> tuple[Expected, float]:
        """Return the level of harm to expect, with its deviation, and the loss."""
        harm = correct(HARM_PRIOR, self.harm, self._sum_db(summed), summed.shares)
        beside = correct(CURVE_PRIOR, self.beside, harm.level_db, summed.shares)
        deviation = math.hypot(harm.deviation_db, beside.deviation_db, LEVEL_DB)
        found = Expected(beside.level_db, deviation)
        return found, self.curve.at(energy_of(found.level_db))

    def predict(self, summed: Summed) -> Prediction:
        """Return SQNR and loss with their intervals."""
        level = correct(NOISE_PRIOR, self.noise, saturated_db(summed.energy), summed.shares)
        reach = Z95 * math.hypot(level.deviation_db, LEVEL_DB)
        ends = Interval(level.level_db - reach, level.level_db + reach)
        labelled = self.predictor.labelled
        if not self.predictor.measured:
            return Prediction(level.level_db, ends, labelled=labelled)
        harm, loss = self.expect(summed)
        if not math.isfinite(loss):
            return Prediction(level.level_db, ends, math.nan, None, labelled)
        return Prediction(level.level_db, ends, loss, self._ends(harm, loss), labelled)

    def _ends(self, harm: Expected, loss: float) -> Interval:
        """Return what the loss may be: by its harm, by the curve, by chance."""
        curve = self.curve
        quiet, loud = (
            curve.at(energy_of(harm.level_db + sign * Z95 * harm.deviation_db)) for sign in (1, -1)
        )
        other = Z95 * math.hypot(curve.deviation(energy_of(harm.level_db)), LEAST_SPREAD)
        low, high = loss - math.hypot(loss - quiet, other), loss + math.hypot(loud - loss, other)
        return Interval(max(0.0, low), min(1.0, high))


LEAST_SPREAD = 0.007  # of a loss beside what is expected of it


def loss_of(measured: Evaluation, *, labelled: bool) -> float | None:
    """Return what a network lost: top-1 accuracy, or without labels likeness to float."""
    return measured.top1_drop if labelled else 1 - measured.agreement


def decibel(energy: float) -> float:
    """Return a level in dB, the higher the quieter, as SQNR is."""
    return QUIETEST_DB if energy <= 0 else -10 * math.log10(energy)


def energy_of(level_db: float) -> float:
    """Return the energy at a level in dB."""
    return float(10 ** (-level_db / 10))


def saturated_db(energy: float) -> float:
    """Return the level of summed noise: outputs stay in bounds however much noise adds up."""
    return decibel(energy / math.sqrt(1 + (energy / MOST_NOISE) ** 2))


def first_predictor(sensitivity: Sensitivity) -> Predictor:
    """Return what the sweep itself teaches: how much each layer's noise cost."""
    labelled = sensitivity.float_top1 is not None
    scores = sensitivity.scores
    by_divergence = bool(scores) and all(score.kl is not None for score in scores)
    points: list[Point] = []
    share = min(1.0, WORTH / max(1, len(scores)))
    for score in scores:
        loss = score.accuracy_drop if labelled else _less(score.agreement)
        harm = _harm(score, by_divergence=by_divergence)
        if loss is not None and math.isfinite(harm):
            points.append(Point(harm, loss, score.images * share))
    most = sensitivity.float_top1 or 1.0
    return Predictor(tuple(points), (), labelled, by_divergence, most)


def _harm(score: CellScore, *, by_divergence: bool) -> float:
    if by_divergence:
        return max(score.kl or 0.0, 0.0)
    return energy_of(score.sqnr_db)


def _less(agreement: float | None) -> float | None:
    return None if agreement is None else 1 - agreement


__all__ = ["Point", "Prediction", "Predictor", "Shares", "Summed", "first_predictor", "loss_of"]
