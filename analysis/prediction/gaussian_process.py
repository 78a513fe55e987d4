"""Corrects summed noise of whole networks: a Gaussian process over measured networks.

The noise of a whole network exceeds the sum of the noise of its layers: noise compounds, more so
with more layers and louder noise. The amount differs from network to network and is learned from
measurements; a Gaussian process (Rasmussen and Williams 2006, chapter 2) over levels in dB adds the
remainder. Two configurations are alike where the noise is about as loud and comes from the same
layers; a measurement informs similar configurations much and other configurations little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.evaluation.measures import Array

Shares = tuple[float, ...]  # share of each part in the noise; () where unknown


@dataclass(frozen=True, slots=True)
class MeasuredLevel:
    """A measured network: its summed level, and the measured offset from the sum, all in dB.

    `deviation_db` is the standard deviation of `off_db`.
    """

    level_db: float
    shares: Shares
    off_db: float
    deviation_db: float


@dataclass(frozen=True, slots=True)
class Prior:
    """Beliefs before the first measurement, in dB; all but `compound_db` are standard deviations.

    The level falls by `compound_db` for each unit of `noise_compounding`, with a deviation of
    `compound_off_db`. `common_db` is common to all networks; `local_db` is shared by networks with
    noise from the same layers and levels within `reach_db`. Compounding makes no level lower than
    `loudest_db`, because answers by chance cannot become worse.
    """

    compound_db: float
    compound_off_db: float
    common_db: float
    local_db: float
    reach_db: float = 6.5
    loudest_db: float = -math.inf


@dataclass(frozen=True, slots=True)
class LevelEstimate:
    """An expected level and its standard deviation, both in dB."""

    level_db: float
    deviation_db: float


def correct_summed_level(
    prior: Prior, known: Sequence[MeasuredLevel], level_db: float, shares: Shares
) -> LevelEstimate:
    """Return the expected level of a network whose layers sum up to `level_db`.

    `shares` are the shares of the parts in the noise; `known` are the measured networks.

    Example:
        >>> prior = Prior(compound_db=0.0, compound_off_db=0.0, common_db=1.0, local_db=0.0)
        >>> correct_summed_level(prior, [], 30.0, ())
        LevelEstimate(level_db=30.0, deviation_db=1.0)
    """
    levels = np.array([one.level_db for one in known] + [level_db])
    mixtures = [*(one.shares for one in known), shares]
    compound = np.array([noise_compounding(*pair) for pair in zip(levels, mixtures, strict=True)])
    covariance = _level_covariance(prior, levels, _mixture_likeness(mixtures), compound)
    variance = float(covariance[-1, -1])
    usual = np.maximum(levels - prior.compound_db * compound, np.minimum(levels, prior.loudest_db))
    usual -= levels
    level_db += float(usual[-1])
    if not known or not math.isfinite(level_db):
        return LevelEstimate(level_db, math.sqrt(variance))
    noise = np.diag([one.deviation_db**2 for one in known])
    weights = np.linalg.solve(covariance[:-1, :-1] + noise, covariance[:-1, -1])
    off = float(weights @ (np.array([one.off_db for one in known]) - usual[:-1]))
    left = max(variance - float(weights @ covariance[:-1, -1]), 0.0)
    return LevelEstimate(level_db + off, math.sqrt(left))


def noise_compounding(level_db: float, shares: Shares) -> float:
    """Return how much noise compounds: its amplitude times the log of the effective part count.

    The effective count is the number of equal parts with the same sum of squared shares. On four
    sample networks the noise was louder by 0.25 to 1 times the result, in nepers of energy.

    Example:
        >>> round(noise_compounding(0.0, (0.5, 0.5)), 4)
        0.6931
    """
    squares = sum(share * share for share in shares)
    if not 0 < squares < 1:
        return 0.0
    return -math.log(squares) * min(1.0, 10 ** (-level_db / 20))


def _level_covariance(prior: Prior, levels: Array, alike: Array, compound: Array) -> Array:
    """Return the covariance (N, N) of the offsets of N networks from their sums."""
    apart = (levels[:, None] - levels[None]) / prior.reach_db
    local = prior.local_db**2 * np.exp(-0.5 * apart**2) * alike
    tilt = prior.compound_off_db * compound
    covariance: Array = prior.common_db**2 + np.outer(tilt, tilt) + local
    return covariance


def _mixture_likeness(networks: Sequence[Shares]) -> Array:
    """Return Bhattacharyya's coefficient (N, N) of the noise shares of each pair, 0 to 1.

    A network without shares has coefficient 0 with every other network.
    """
    longest = max((len(shares) for shares in networks), default=0)
    roots = np.zeros((len(networks), longest))
    for row, shares in zip(roots, networks, strict=True):
        row[: len(shares)] = np.sqrt(shares)
    coefficients: Array = roots @ roots.T
    np.fill_diagonal(coefficients, 1.0)
    return coefficients
