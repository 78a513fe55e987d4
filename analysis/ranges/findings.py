"""Tensors with an unfit encoding, and the reasons: findings as sentences, ranked by bits lost."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from analysis.ranges.distributions import Distribution, format_ratio
from analysis.ranges.encoding_fit import Fit
from quant.simulation.plan import Side
from quant.spec import Granularity

# At 8 times the median channel, one encoding per tensor leaves the median channel 5 of 8 bits.
# Layers that quantize well stay under 3 (fashion-resnet: 2.7); the depthwise layers of the white
# paper exceed 8 by far (section 4.1, figure 3).
CHANNEL_RATIO = 8.0
# Twice the kurtosis of a Laplace distribution (6), the heaviest tail of usual trained weights;
# beyond 12 a few values set the range of the tensor.
WEIGHT_KURTOSIS = 12.0
# Behind a ReLU that passes one value in ten, a normal distribution has a kurtosis of about 39: most
# values are zero, without any outlier.
ACTIVATION_KURTOSIS = 50.0
# 10 dB, or 1.7 bits, below the SQNR of a normal distribution at the same bits: the range is at
# fault, not the number of bits.
SHORTFALL_DB = 10.0
# Noise of 18 % of the signal's amplitude: too loud for any tensor.
LOWEST_SQNR_DB = 15.0
# A quarter of the codes: two bits of the width stay unused.
MIN_USED_SHARE = 0.25
# Estimators that clip on purpose stay well under one value in a hundred at 8 bits.
MAX_CLIPPED_SHARE = 0.01
# With four values per code, every code is likely to occur.
VALUES_PER_CODE = 4
DB_PER_BIT = 20 * math.log10(2)
# SQNR in dB of the best uniform encoding for a normal distribution at 2, 3, ... bits (Max 1960,
# table II, up to 5 bits; the same search continued beyond 5 bits).
NORMAL_DB = (9.25, 14.27, 19.38, 24.57, 29.83, 35.17, 40.57)


class Cause(StrEnum):
    """The reasons why an encoding does not fit a tensor."""

    CHANNELS = "channel ranges"
    OUTLIERS = "outliers"
    SQNR = "SQNR"
    CODES = "unused codes"
    CLIPPING = "clipping"
    FEW_WEIGHTS = "few weights per channel"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to suspect a layer: a sentence with the measured number.

    `bits_lost` expresses the damage in bits of width, so that findings are comparable.
    """

    cause: Cause
    sentence: str
    bits_lost: float


@dataclass(frozen=True, eq=False, slots=True)
class ExaminedTensor:
    """A tensor with distribution, fit of the encoding (None: float) and findings."""

    distribution: Distribution
    fit: Fit | None
    findings: tuple[Finding, ...]

    @property
    def layer_name(self) -> str:
        """The layer's name."""
        return self.distribution.layer

    @property
    def bits_lost(self) -> float:
        """The bits lost to the worst finding; 0 without findings."""
        return max((finding.bits_lost for finding in self.findings), default=0.0)


def examine_tensor_fit(distribution: Distribution, fit: Fit | None) -> ExaminedTensor:
    """Return the findings against the encoding of a tensor, the largest loss of bits first.

    Unequal channels speak against one encoding for all channels of a weight, not against one for
    each; outliers speak against the latter only where the SQNR suffers.
    """
    candidates: list[Finding | None] = []
    if not _has_own_encodings(distribution, fit):
        candidates = [_channel_finding(distribution), _outlier_finding(distribution)]
    elif fit is not None and _sqnr_finding(fit) is not None:
        candidates = [_outlier_finding(distribution)]
    if fit is not None:
        candidates += [_sqnr_finding(fit), _code_finding(distribution, fit), _clipping_finding(fit)]
    findings = sorted((f for f in candidates if f is not None), key=lambda f: -f.bits_lost)
    return ExaminedTensor(distribution, fit, tuple(findings))


def rank_suspect_tensors(examined: list[ExaminedTensor]) -> list[ExaminedTensor]:
    """Return the tensors with findings, the largest loss of bits first."""
    return sorted((item for item in examined if item.findings), key=lambda item: -item.bits_lost)


def expected_sqnr_db(bits: int) -> float:
    """Return the SQNR in dB of the best uniform encoding for a normal distribution.

    Example:
        >>> expected_sqnr_db(8)
        40.57
    """
    if bits <= 8:
        return NORMAL_DB[bits - 2]
    # Each further bit adds a little less than 6.02 dB, because the best range grows as well.
    return NORMAL_DB[-1] + 5.5 * (bits - 8)


def _has_own_encodings(distribution: Distribution, fit: Fit | None) -> bool:
    """Whether each channel, or group, of a weight has an encoding of its own."""
    own = fit is not None and fit.spec.granularity is not Granularity.PER_TENSOR
    return own and distribution.side is Side.WEIGHTS


def _channel_finding(distribution: Distribution) -> Finding | None:
    channels = distribution.channels
    if channels is None or channels.widest_to_median_ratio < CHANNEL_RATIO:
        return None
    widest = int(np.argmax(channels.largest_by_channel))
    lost = math.log2(channels.widest_to_median_ratio)
    sentence = (
        f"Channel {widest} spans {format_ratio(channels.widest_to_median_ratio)} times the "
        "median channel, "
        f"which a shared encoding would leave {lost:.1f} bits short"
    )
    return Finding(Cause.CHANNELS, sentence + ".", lost)


def _outlier_finding(distribution: Distribution) -> Finding | None:
    weight = distribution.side is Side.WEIGHTS
    if distribution.kurtosis < (WEIGHT_KURTOSIS if weight else ACTIVATION_KURTOSIS):
        return None
    peak = distribution.peak_in_std
    # A normal tensor of this size reaches about sqrt(2 ln n) standard deviations.
    usual = math.sqrt(2 * math.log(max(distribution.count, 2)))
    return Finding(
        Cause.OUTLIERS,
        f"Kurtosis is {distribution.kurtosis:.0f} (normal: 3); the largest value lies "
        f"{peak:.0f} standard deviations out, where {usual:.0f} would be usual.",
        max(0.0, math.log2(max(peak, 1e-9) / usual)),
    )


def _sqnr_finding(fit: Fit) -> Finding | None:
    """Compare the SQNR of the tensor and of the median channel with a normal distribution.

    The median channel counts too, because the signal of large channels hides the noise of small
    ones.
    """
    bits, expected = fit.spec.bits, expected_sqnr_db(fit.spec.bits)
    limit = max(expected - SHORTFALL_DB, LOWEST_SQNR_DB)
    median = median_channel_sqnr_db(fit)
    if fit.sqnr_db >= limit and median >= limit:
        return None
    if fit.sqnr_db <= median:
        what, lower = "SQNR is", fit.sqnr_db
    else:
        what, lower = "Half of the channels have an SQNR of at most", median
    return Finding(
        Cause.SQNR,
        f"{what} {lower:.1f} dB at {bits} bits; a normal distribution gets {expected:.1f} dB.",
        max(0.0, expected - max(lower, 0.0)) / DB_PER_BIT,
    )


def median_channel_sqnr_db(fit: Fit) -> float:
    """Return the SQNR of the median channel in dB; infinite without an SQNR per channel."""
    if fit.channel_sqnr_db is None:
        return math.inf
    measured = fit.channel_sqnr_db[~np.isnan(fit.channel_sqnr_db)]
    return float(np.median(measured)) if len(measured) else math.inf


def _code_finding(distribution: Distribution, fit: Fit) -> Finding | None:
    if (
        fit.used_code_share >= MIN_USED_SHARE
        or distribution.count < VALUES_PER_CODE * fit.code_count
    ):
        return None
    return Finding(
        Cause.CODES,
        f"Only {fit.codes_used} of {fit.code_count} codes occur among {distribution.count} values.",
        math.log2(1 / max(fit.used_code_share, 1e-9)),
    )


def _clipping_finding(fit: Fit) -> Finding | None:
    if fit.clipped_share < MAX_CLIPPED_SHARE:
        return None
    # Without clipping the error would consist of rounding alone.
    error = fit.rounding_error + fit.clipping_error
    lost = 0.5 * math.log2(error / fit.rounding_error) if fit.rounding_error > 0 else 0.0
    return Finding(
        Cause.CLIPPING,
        f"{100 * fit.clipped_share:.1f} % of the values are clipped; that is "
        f"{100 * fit.clipping_part:.0f} % of the error.",
        lost,
    )
