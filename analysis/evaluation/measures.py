"""Measures of error: tensors in, numbers out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Z95 = 1.959963984540054  # two-sided 95 % of the standard normal


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, in the unit of the measure; of 95 % unless stated otherwise."""

    low: float
    high: float


def signal_to_noise_db(signal: float, noise: float) -> float:
    """Return 10 log10(signal / noise) of two energies in dB; infinite without noise.

    Noise that is no number (of values that are NaN) counts as endless.

    Example:
        >>> signal_to_noise_db(100.0, 1.0)
        20.0
    """
    if noise <= 0:
        return math.inf
    if signal <= 0 or not math.isfinite(noise):
        return -math.inf
    return 10 * math.log10(signal / noise)


def sqnr_db(reference: Tensor, noisy: Tensor) -> float:
    """Return the signal-to-quantization-noise ratio of `noisy` against `reference` in dB.

    Both tensors have one shape. Higher is better; equal tensors give infinity.

    Example:
        >>> sqnr_db(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5]))
        20.0
    """
    reference, noisy = reference.double(), noisy.double()
    return signal_to_noise_db(
        float(reference.square().sum()), float((reference - noisy).square().sum())
    )


def spearman_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation of paired values in [-1, 1]; equal values share a rank.

    None for fewer than three pairs, or if the values of one side are equal.

    Example:
        >>> spearman_correlation([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
        0.5
    """
    ranks = [_mean_ranks(values) for values in (first, second)]
    if len(first) < 3 or any(np.ptp(rank) == 0 for rank in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _mean_ranks(values: Sequence[float]) -> np.ndarray:
    """Return the rank of each value from 1; equal values get the mean rank."""
    _, places, counts = np.unique(
        np.asarray(values, float), return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts)
    means: np.ndarray = (last - (counts - 1) / 2)[places]
    return means


def entropy_bits(values: Tensor) -> float:
    """Return the entropy of integer codes, of any shape, in bits per value.

    Example:
        >>> entropy_bits(torch.tensor([0, 0, 1, 1]))
        1.0
    """
    # Counting is six times faster than sorting; the codes of an encoding span at most 2**16.
    counts = torch.bincount((values - values.min()).long().flatten())
    counts = counts[counts > 0]
    share = counts.double() / counts.sum()
    return max(0.0, float(-(share * share.log2()).sum()))


Array = NDArray[np.float64]
