"""Predicts the noise at the output and the loss of accuracy for a choice of bits.

To first order, noise energies and KL divergences of single layers add up. Measured networks correct
both sums (`gaussian_process`). A curve turns the corrected divergence into a loss (`loss_curve`),
and the offset of single networks from the curve is learned as well. A network with a trial on a few
images is predicted from the trial (`trial`), corrected by measured networks with trials. Each
prediction has a 95 % interval.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.lost_score import measured_loss_share, share_metric
from analysis.evaluation.measures import Z95, Interval
from analysis.prediction.gaussian_process import (
    LevelEstimate,
    MeasuredLevel,
    Prior,
    correct_summed_level,
)
from analysis.prediction.loss_curve import (
    ACCURACY,
    ANSWERS,
    BY_NOISE,
    LossCurve,
    Point,
    fit_loss_curve,
)
from analysis.prediction.noise_table import NoiseSum
from analysis.prediction.trial import (
    LEVEL_REACH_DB,
    ConfigTrial,
    correct_by_measurements,
    guessing_reach,
)
from analysis.sensitivity.sweep import CellScore, Sensitivity
from quant.errors import QuantError

# Priors before the first measurement, our choice: on four sample networks with 50 configurations
# each, sums of noise were 1.4 dB off (root mean square), sums of divergences 1.7 dB.
NOISE_PRIOR = Prior(0.5, 1.0, 0.8, 1.9)
# Choices of a search spread noise over many layers, where noise compounds more: on ten choices of
# each of five sample networks, divergences were 4 dB (deviation 2.5) off per unit of compounding.
HARM_PRIOR = Prior(4.0, 2.5, 0.8, 2.2, loudest_db=-4.0)
CURVE_PRIOR = Prior(0.0, 0.0, 0.0, 1.4)
LEVEL_DB = 0.7  # deviation of a level measured on other images
MOST_NOISE = 3.0  # share of the signal at which noise saturates
QUIETEST_DB, NOISIEST_DB = 90.0, -20.0
LEAST_SLOPE = 1e-4  # loss per dB; below it a loss does not determine a level
STEP_DB = 0.25
WORTH = 10  # weight of a sweep in points: all layers use the same images


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted output of a network; intervals are 95 % intervals.

    `loss` is a share of 1: of top-1 accuracy, or without labels (`labelled` False) of answers that
    agree with the float network. None without a measurement that relates noise to loss. `tried` is
    the number of images of the trial behind the prediction, 0 for a sum over single layers.
    """

    sqnr_db: float
    sqnr_ci95: Interval
    loss: float | None = None
    loss_ci95: Interval | None = None
    labelled: bool = True
    tried: int = 0


@dataclass(frozen=True, slots=True)
class MeasuredNetwork:
    """A measured network: the sum over its layers, and the measured SQNR, harm and loss."""

    summed: NoiseSum
    sqnr_db: float
    harm: float | None
    loss: float | None
    images: int


@dataclass(frozen=True, slots=True)
class Predictor:
    """A predictor trained on `points` of single layers and on measured networks.

    `by_divergence` says that harm is a KL divergence; `most` is the largest possible loss, a share.
    `chance` is the share of answers that guessing gets right, below which no prediction falls.
    """

    points: tuple[Point, ...] = ()
    networks: tuple[MeasuredNetwork, ...] = ()
    labelled: bool = True
    by_divergence: bool = False
    most: float = 1.0
    chance: float = 0.0

    def loss_at_divergence(self, kl: float) -> float:
        """Return the expected loss, a share of 1, at a KL divergence of the answers in nats."""
        return _FittedPredictor(self).curve.loss_at(kl)

    @property
    def measured_count(self) -> int:
        """The number of points that relate harm to loss."""
        return len(self.points) + sum(one.loss is not None for one in self.networks)

    @property
    def tells_loss(self) -> bool:
        """Whether a loss is predicted: from measured points, or from the usual curve of classes."""
        return self.by_divergence or self.measured_count > 0

    def predict_network(self, summed: NoiseSum) -> Prediction:
        """Return the prediction for the sum over a network's layers."""
        return _FittedPredictor(self).predict_network(summed)

    def learn_measurement(self, summed: NoiseSum, measured: Evaluation) -> "Predictor":
        """Return a predictor trained on one more measured network."""
        loss = measured_loss_share(measured, labelled=self.labelled)
        if not math.isfinite(measured.sqnr_db) or not summed.energy > 0:
            return self
        harm = measured.kl if self.by_divergence else 10 ** (-measured.sqnr_db / 10)
        one = MeasuredNetwork(summed, measured.sqnr_db, harm, loss, measured.samples)
        top = measured.float_top1 if self.labelled else None
        if top is None and (metric := share_metric(measured)) is not None:
            top = metric.float_value
        most = self.most if top is None else max(top - self.chance, 0.0)
        return replace(self, networks=(*self.networks, one), most=most)

    def most_noise_energy(self, loss: float, like: NoiseSum) -> float:
        """Return the largest energy of a mixture like `like` with a predicted loss <= `loss`."""
        if not self.tells_loss:
            raise QuantError(
                "How accuracy follows from noise must be known; no point is measured. Measure a "
                "few proposals, or sweep exactly."
            )
        fitted = _FittedPredictor(self)

        def within(level: float) -> bool:
            return (
                fitted.expected_harm(like.scale_energy(db_to_energy(level) / like.energy))[1]
                <= loss
            )

        levels = np.arange(NOISIEST_DB, QUIETEST_DB, STEP_DB)  # from the noisiest down
        first = next((float(level) for level in levels if within(level)), None)
        if first is None:
            return 0.0
        low, high = first - STEP_DB, first
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (low, middle) if within(middle) else (middle, high)
        return db_to_energy(high)


class _FittedPredictor:
    """A predictor with a fitted curve and the corrections from measured networks."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        networks = predictor.networks
        self.noise = [
            MeasuredLevel(saturated_level_db(one.summed.energy), one.summed.shares, off, LEVEL_DB)
            for one in networks
            if math.isfinite(
                off := max(one.sqnr_db, NOISIEST_DB) - saturated_level_db(one.summed.energy)
            )
        ]
        self.harm = [
            MeasuredLevel(level, one.summed.shares, energy_to_db(one.harm) - level, LEVEL_DB)
            for one in networks
            if one.harm is not None and math.isfinite(level := self._summed_harm_db(one.summed))
        ]
        self.curve = self._fit_loss_curve()
        self.curve_residuals = [
            residual for one in networks if (residual := self._curve_residual(one)) is not None
        ]

    def _summed_harm_db(self, summed: NoiseSum) -> float:
        """Return the summed harm in dB, higher for less harm, like an SQNR."""
        if not self.predictor.by_divergence:
            return saturated_level_db(summed.energy)
        return math.nan if summed.divergence is None else energy_to_db(summed.divergence)

    def _fit_loss_curve(self) -> LossCurve:
        """Fit the curve to layers and networks; runs of older versions have no harm field."""
        predictor = self.predictor
        points = list(predictor.points)
        for one in predictor.networks:
            harm = one.harm if one.harm is not None else db_to_energy(self._harm_db(one.summed))
            if one.loss is not None and math.isfinite(harm):
                points.append(Point(harm, one.loss, one.images))
        prior = ACCURACY if predictor.labelled else ANSWERS
        return fit_loss_curve(
            points, prior if predictor.by_divergence else BY_NOISE, predictor.most
        )

    def _curve_residual(self, one: MeasuredNetwork) -> MeasuredLevel | None:
        """Return the change of harm in dB that would explain a network's measured loss."""
        if one.harm is None or one.loss is None:
            return None
        slope, predicted = self.curve.loss_per_db(one.harm), self.curve.loss_at(one.harm)
        if slope < LEAST_SLOPE:
            return None
        spread = math.sqrt(max(predicted * (1 - predicted), 0.01) / one.images)
        off = (predicted - one.loss) / slope
        return MeasuredLevel(energy_to_db(one.harm), one.summed.shares, off, spread / slope)

    def _harm_db(self, summed: NoiseSum) -> float:
        return correct_summed_level(
            HARM_PRIOR, self.harm, self._summed_harm_db(summed), summed.shares
        ).level_db

    def expected_harm(self, summed: NoiseSum) -> tuple[LevelEstimate, float]:
        """Return the expected level of harm and the loss at this level."""
        harm = correct_summed_level(
            HARM_PRIOR, self.harm, self._summed_harm_db(summed), summed.shares
        )
        beside = correct_summed_level(
            CURVE_PRIOR, self.curve_residuals, harm.level_db, summed.shares
        )
        deviation = math.hypot(harm.deviation_db, beside.deviation_db, LEVEL_DB)
        estimate = LevelEstimate(beside.level_db, deviation)
        return estimate, self.curve.loss_at(db_to_energy(estimate.level_db))

    def predict_network(self, summed: NoiseSum) -> Prediction:
        """Return SQNR and loss with intervals, from a trial where there is one."""
        trial = summed.trial
        if trial is None or not math.isfinite(trial.sqnr_db):
            return self._predict_sum(summed)
        levels = [
            (one.summed.trial.sqnr_db, LEVEL_DB, one.sqnr_db)
            for one in self.predictor.networks
            if one.summed.trial is not None and math.isfinite(one.summed.trial.sqnr_db)
        ]
        level, deviation = correct_by_measurements(trial.sqnr_db, LEVEL_DB, levels, LEVEL_REACH_DB)
        ends = Interval(level - Z95 * deviation, level + Z95 * deviation)
        loss, labelled = self._trial_loss(trial), self.predictor.labelled
        if loss is None:
            return Prediction(level, ends, None, None, labelled, trial.images)
        known = [
            (*tried, one.loss)
            for one in self.predictor.networks
            if one.loss is not None
            and one.summed.trial is not None
            and (tried := self._trial_loss(one.summed.trial)) is not None
        ]
        expected, deviation = correct_by_measurements(*loss, known)
        most, reach = self._most_loss(trial), Z95 * deviation
        expected = min(most, max(0.0, expected))
        images = max([trial.images, *(one.images for one in self.predictor.networks)])
        most = min(1.0, most + guessing_reach(self.predictor.chance, images))
        bounds = Interval(max(0.0, expected - reach), min(most, expected + reach))
        return Prediction(level, ends, expected, bounds, labelled, trial.images)

    def _trial_loss(self, trial: ConfigTrial) -> tuple[float, float] | None:
        """Return the loss of a trial and its deviation; None without classes."""
        loss = trial.expected_loss(self._most_loss(trial), labelled=self.predictor.labelled)
        return None if loss is None else (loss, trial.loss_deviation(loss))

    def _most_loss(self, trial: ConfigTrial) -> float:
        """Return the largest possible loss; a sweep of few images misses it by points."""
        predictor = self.predictor
        if trial.float_top1 is None or predictor.networks or not predictor.labelled:
            return predictor.most
        return max(trial.float_top1 - predictor.chance, 0.0)

    def _predict_sum(self, summed: NoiseSum) -> Prediction:
        """Return SQNR and loss with intervals, from the sum over single layers."""
        level = correct_summed_level(
            NOISE_PRIOR, self.noise, saturated_level_db(summed.energy), summed.shares
        )
        reach = Z95 * math.hypot(level.deviation_db, LEVEL_DB)
        ends = Interval(level.level_db - reach, level.level_db + reach)
        labelled = self.predictor.labelled
        if not self.predictor.tells_loss:
            return Prediction(level.level_db, ends, labelled=labelled)
        harm, loss = self.expected_harm(summed)
        if not math.isfinite(loss):
            return Prediction(level.level_db, ends, math.nan, None, labelled)
        return Prediction(level.level_db, ends, loss, self._loss_interval(harm, loss), labelled)

    def _loss_interval(self, harm: LevelEstimate, loss: float) -> Interval:
        """Return the interval of a loss, from the deviations of harm, curve and chance."""
        curve = self.curve
        quiet, loud = (
            curve.loss_at(db_to_energy(harm.level_db + sign * Z95 * harm.deviation_db))
            for sign in (1, -1)
        )
        other = Z95 * math.hypot(curve.loss_deviation(db_to_energy(harm.level_db)), LEAST_SPREAD)
        low, high = loss - math.hypot(loss - quiet, other), loss + math.hypot(loud - loss, other)
        return Interval(max(0.0, low), min(curve.most, high))


LEAST_SPREAD = 0.007  # least deviation of a loss from the expected loss


def energy_to_db(energy: float) -> float:
    """Return a level in dB of an energy, higher for less energy, like an SQNR.

    Example:
        >>> energy_to_db(0.01)
        20.0
    """
    return QUIETEST_DB if energy <= 0 else -10 * math.log10(energy)


def db_to_energy(level_db: float) -> float:
    """Return the energy at a level in dB.

    Example:
        >>> db_to_energy(20.0)
        0.01
    """
    return float(10 ** (-level_db / 10))


def saturated_level_db(energy: float) -> float:
    """Return the level in dB of summed noise, saturated because outputs stay bounded."""
    return energy_to_db(energy / math.sqrt(1 + (energy / MOST_NOISE) ** 2))


def predictor_from_sweep(sensitivity: Sensitivity, chance: float = 0.0) -> Predictor:
    """Return a predictor trained on a sweep alone: the loss from each layer's noise.

    `chance` is the share of answers that guessing gets right.
    """
    labelled = sensitivity.float_top1 is not None
    scores = sensitivity.scores
    by_divergence = bool(scores) and all(score.kl is not None for score in scores)
    points: list[Point] = []
    share = min(1.0, WORTH / max(1, len(scores)))
    for score in scores:
        changed = None if score.agreement is None else 1 - score.agreement
        loss = score.accuracy_drop if labelled else changed
        harm = _score_harm(score, by_divergence=by_divergence)
        if loss is not None and math.isfinite(harm):
            points.append(Point(harm, loss, score.images * share))
    top = 1.0 if sensitivity.float_top1 is None else sensitivity.float_top1
    return Predictor(tuple(points), (), labelled, by_divergence, max(top - chance, 0.0), chance)


def _score_harm(score: CellScore, *, by_divergence: bool) -> float:
    if by_divergence:
        return max(score.kl or 0.0, 0.0)
    return db_to_energy(score.sqnr_db)
