"""Confidence intervals of counts and of energies: one method a quantity, shown and decided by.

Chance crosses an end of an interval at most as often as the confidence says, also near 0 and 1.
Shorter intervals do not keep that: for a network that loses 1 % of 200 images and wins none, the
upper end of Agresti and Min's interval lies below 1 % in 13 % of the trials.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

from analysis.evaluation.measures import Z95, Interval

FEWEST_ENERGIES = 4
STEPS = 45
"""Halvings of an interval of length 2: an end is known to 1e-13."""
PAIRED_SOURCE = "the wider ends of Agresti and Min (2005) and Tango (1998)"
PROPORTION_SOURCE = "exact, Clopper and Pearson (1934)"
ENERGY_SOURCE = "delta method on the energies of answers"


def normal_quantile(confidence: float) -> float:
    """Return z of a two-sided interval of `confidence`, a share of 1.

    >>> round(normal_quantile(0.95), 2)
    1.96
    """
    return float(ndtri(0.5 + confidence / 2))


def proportion_interval(hits: float, trials: float, confidence: float = 0.95) -> Interval:
    """Return the interval of a proportion, as shares of 1 (Clopper and Pearson 1934).

    >>> proportion_interval(10, 10)
    Interval(low=0.691..., high=1.0)
    """
    tail = (1 - confidence) / 2
    low = 0.0 if hits <= 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits >= trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return Interval(low, high)


def paired_interval(lost: float, won: float, trials: float, confidence: float = 0.95) -> Interval:
    """Return the interval of a difference of two proportions on equal images.

    `lost` images were right before and wrong after, `won` images wrong before and right after; the
    difference is (lost - won) / trials. Each end is the wider of two intervals: the adjusted Wald
    interval is too short towards a difference in few images, the score interval towards the score's
    own estimate (our choice).
    """
    if trials <= 0:
        return Interval(-1.0, 1.0)
    z = normal_quantile(confidence)
    wald = adjusted_wald_interval(lost, won, trials, z)
    score = score_interval(lost, won, trials, z)
    return Interval(min(wald.low, score.low), max(wald.high, score.high))


def adjusted_wald_interval(lost: float, won: float, trials: float, z: float) -> Interval:
    """Return the interval of (lost - won) / trials of Agresti and Min (2005).

    Half a count is added to each of the four cells; `z` is the normal quantile of the confidence.
    """
    lost_half, won_half, n = lost + 0.5, won + 0.5, trials + 2
    difference = (lost_half - won_half) / n
    variance = (lost_half + won_half - (lost_half - won_half) ** 2 / n) / n**2
    half = z * math.sqrt(variance)
    return Interval(max(-1.0, difference - half), min(1.0, difference + half))


def score_interval(lost: float, won: float, trials: float, z: float) -> Interval:
    """Return Tango's interval of (lost - won) / trials (Statistics in Medicine 1998, 17:891).

    The interval holds the differences that the score test with the quantile `z` does not reject.

    >>> round(score_interval(0, 0, 200, 1.96).high, 4)  # z^2 / (n + z^2)
    0.0188
    """
    estimate = (lost - won) / trials

    def rejected(difference: float) -> bool:
        excess = lost - won - trials * difference
        return excess**2 > z**2 * _score_variance(lost, won, trials, difference)

    ends = []
    for end in (-1.0, 1.0):
        inside, outside = estimate, end
        for _ in range(STEPS):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
        ends.append(inside)
    return Interval(ends[0], ends[1])


def _score_variance(lost: float, won: float, n: float, difference: float) -> float:
    """Return the variance of lost - won where the true difference is `difference`.

    The share of won images is the constrained maximum of the likelihood, Tango's equation (5).
    """
    linear = -lost - won + (2 * n - lost + won) * difference
    constant = -won * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear**2 - 8 * n * constant))
    return n * ((root - linear) / (2 * n) + difference * (1 - difference))


def energy_ratio_interval(
    signal: NDArray[np.float64], noise: NDArray[np.float64], z: float = Z95
) -> Interval | None:
    """Return the interval of an SQNR in dB from the energies (N,) of images.

    By the delta method, the logarithm of a ratio of two means varies over images like s / mean(s) -
    n / mean(n). The result is None with fewer than 4 images, or without signal or noise.
    """
    count = len(signal)
    if count < FEWEST_ENERGIES or signal.sum() <= 0 or noise.sum() <= 0:
        return None
    influence = signal / signal.mean() - noise / noise.mean()
    half = z * 10 / math.log(10) * float(influence.std(ddof=1)) / math.sqrt(count)
    middle = 10 * math.log10(float(signal.sum()) / float(noise.sum()))
    return Interval(middle - half, middle + half)
