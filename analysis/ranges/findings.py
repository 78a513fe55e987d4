"""Which tensors a grid does not fit, and why: findings in sentences, by the bits they cost."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from analysis.ranges.distributions import Distribution
from analysis.ranges.encoding_fit import Fit
from quant.simulation.plan import Role
from quant.spec import Granularity

# At 8 times the median channel the median one is left with 5 of 8 bits on a shared grid. Layers
# that quantize well stay under 3 (fashion-resnet: 2.7); the white paper's depthwise layers exceed
# it by far (section 4.1, figure 3).
CHANNEL_RATIO = 8.0
# Twice that of a Laplace distribution (6), the heaviest tail that trained weights usually have;
# beyond it a few values set the range of all.
WEIGHT_KURTOSIS = 12.0
# Behind a ReLU that lets one value in ten through, a normal distribution has about 39: most
# values are zero, which is no outlier's fault.
ACTIVATION_KURTOSIS = 50.0
# 10 dB, or 1.7 bits, below what a normal distribution gets from the same bits: then the grid is
# at fault, not the number of bits.
SHORTFALL_DB = 10.0
# Noise of 18 % of the signal's amplitude, whatever the reason.
LOWEST_SQNR_DB = 15.0
# Two bits of the width are never used.
CODES_USED = 0.25
# Estimators that clip on purpose stay well under one value in a hundred at 8 bits.
CLIPPED = 0.01
# As many values a code as make it likely that every code is met.
VALUES_PER_CODE = 4
DB_PER_BIT = 20 * math.log10(2)
# SQNR of the best uniform grid for a normal distribution (Max 1960, table II, up to 5 bits; the
# same search continued), for 2, 3, ... bits in dB.
NORMAL_DB = (9.25, 14.27, 19.38, 24.57, 29.83, 35.17, 40.57)


class Cause(StrEnum):
    """What speaks against a grid."""

    CHANNELS = "channel ranges"
    OUTLIERS = "outliers"
    SQNR = "SQNR"
    CODES = "unused codes"
    CLIPPING = "clipping"
    FEW_WEIGHTS = "few weights a channel"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to suspect a layer: a sentence with the number measured.

    `bits_lost` says what it costs in bits of width, so that reasons of all kinds can be ranked.
    """

    cause: Cause
    sentence: str
    bits_lost: float


@dataclass(frozen=True, eq=False, slots=True)
class Examined:
    """A tensor with its distribution, the fit of its grid (None: float) and what was found."""

    distribution: Distribution
    fit: Fit | None
    findings: tuple[Finding, ...]

    @property
    def layer(self) -> str:
        """The layer's name."""
        return self.distribution.layer

    @property
    def bits_lost(self) -> float:
        """What the worst finding costs; 0 without any."""
        return max((finding.bits_lost for finding in self.findings), default=0.0)


def examine(distribution: Distribution, fit: Fit | None) -> Examined:
    """Return what speaks against the grid of a tensor, the costliest first."""
    found = [_channels(distribution, fit), _outliers(distribution)]
    if fit is not None:
        found += [_sqnr(fit), _codes(distribution, fit), _clipping(fit)]
    findings = sorted((f for f in found if f is not None), key=lambda f: -f.bits_lost)
    return Examined(distribution, fit, tuple(findings))


def suspects(examined: list[Examined]) -> list[Examined]:
    """Return the tensors with findings, the worst first."""
    return sorted((item for item in examined if item.findings), key=lambda item: -item.bits_lost)


def expected_db(bits: int) -> float:
    """Return the SQNR in dB that a normal distribution gets from its best uniform grid."""
    if bits <= 8:
        return NORMAL_DB[bits - 2]
    # each further bit adds a little less than 6.02 dB, since the range grows as well
    return NORMAL_DB[-1] + 5.5 * (bits - 8)


def _channels(distribution: Distribution, fit: Fit | None) -> Finding | None:
    channels = distribution.channels
    if channels is None or channels.ratio < CHANNEL_RATIO:
        return None
    widest = int(np.argmax(channels.largest))
    lost = math.log2(channels.ratio)
    sentence = (
        f"Channel {widest} spans {_times(channels.ratio)} times the median channel, "
        f"which a shared grid would leave {lost:.1f} bits short"
    )
    own = fit is not None and fit.spec.granularity is not Granularity.PER_TENSOR
    if own and distribution.role is Role.WEIGHT:
        sentence += "; its own scales, as chosen, avoid that"
    return Finding(Cause.CHANNELS, sentence + ".", lost)


def _outliers(distribution: Distribution) -> Finding | None:
    weight = distribution.role is Role.WEIGHT
    if distribution.kurtosis < (WEIGHT_KURTOSIS if weight else ACTIVATION_KURTOSIS):
        return None
    peak = distribution.peak_in_std
    # a normal tensor of this size would reach about sqrt(2 ln n) standard deviations
    usual = math.sqrt(2 * math.log(max(distribution.count, 2)))
    return Finding(
        Cause.OUTLIERS,
        f"Kurtosis is {distribution.kurtosis:.0f} (normal: 3); the largest value lies "
        f"{peak:.0f} standard deviations out, where {usual:.0f} would be usual.",
        max(0.0, math.log2(max(peak, 1e-9) / usual)),
    )


def _sqnr(fit: Fit) -> Finding | None:
    """Judge the tensor, and the median channel: large ones drown the noise of the small."""
    bits, expected = fit.spec.bits, expected_db(fit.spec.bits)
    limit = max(expected - SHORTFALL_DB, LOWEST_SQNR_DB)
    median = median_db(fit)
    if fit.sqnr_db >= limit and median >= limit:
        return None
    if fit.sqnr_db <= median:
        what, found = "SQNR is", fit.sqnr_db
    else:
        what, found = "Half of the channels have an SQNR of at most", median
    return Finding(
        Cause.SQNR,
        f"{what} {found:.1f} dB at {bits} bits; a normal distribution gets {expected:.1f} dB.",
        max(0.0, expected - max(found, 0.0)) / DB_PER_BIT,
    )


def median_db(fit: Fit) -> float:
    """Return the SQNR of the median channel in dB; inf where channels are not known."""
    if fit.channel_sqnr_db is None:
        return math.inf
    known = fit.channel_sqnr_db[~np.isnan(fit.channel_sqnr_db)]
    return float(np.median(known)) if len(known) else math.inf


def _codes(distribution: Distribution, fit: Fit) -> Finding | None:
    if fit.used_share >= CODES_USED or distribution.count < VALUES_PER_CODE * fit.levels:
        return None
    return Finding(
        Cause.CODES,
        f"Only {fit.codes_used} of {fit.levels} codes occur among {distribution.count} values.",
        math.log2(1 / max(fit.used_share, 1e-9)),
    )


def _clipping(fit: Fit) -> Finding | None:
    if fit.clipped_share < CLIPPED:
        return None
    # the error without clipping would have been that of rounding alone
    error = fit.rounding_error + fit.clipping_error
    lost = 0.5 * math.log2(error / fit.rounding_error) if fit.rounding_error > 0 else 0.0
    return Finding(
        Cause.CLIPPING,
        f"{100 * fit.clipped_share:.1f} % of the values are clipped; that is "
        f"{100 * fit.clipping_part:.0f} % of the error.",
        lost,
    )


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}"
