"""Causes at a weight: channels, dead channels, few weights, few codes, clipping."""

import math
from collections.abc import Iterator

import numpy as np

from analysis.diagnosis.causes.root_cause import (
    RootCause,
    SiteCause,
    SiteFacts,
    channel_spread,
)
from analysis.diagnosis.diagnose import FEW_WEIGHTS
from analysis.diagnosis.remedies import CORRECT, EQUALIZE, PER_CHANNEL, ROUND, Remedy, other_range
from analysis.ranges.distributions import format_ratio
from analysis.ranges.findings import DB_PER_BIT, expected_sqnr_db, median_channel_sqnr_db
from quant.graph.operators import Kind
from quant.ranges.estimators import encode_weight
from quant.spec import Granularity

DEAD_STD = 1e-2
"""A channel whose output varies less than this share of the median channel's is nearly dead."""
MEAN_SHIFT = 0.01
"""From here on the rounding errors of a channel move the mean: 1 % of the sum of |weights|."""
SHORTFALL_DB = 9.0
"""1.5 bits below a normal distribution: the range is at fault, not the bits (our choice)."""
MOSTLY_CLIPPING = 0.7
"""Of the error; the least-error range of a normal distribution stays below 0.4."""


def weight_causes(facts: SiteFacts) -> Iterator[SiteCause | None]:
    """Yield the causes at a weight; a detector without a finding yields None."""
    if facts.site.spec.granularity is Granularity.PER_TENSOR:
        yield _channel_cause(facts)
    yield _few_weights(facts)
    yield clipped_tail(facts)
    yield _few_codes(facts)
    yield _few_bits(facts)


def _channel_cause(facts: SiteFacts) -> SiteCause | None:
    channels = facts.values.channels
    if channels is None:
        return None
    spread = channel_spread(channels)
    lost, times = math.log2(spread.ratio), format_ratio(spread.ratio)
    remedy = EQUALIZE if facts.is_paired else PER_CHANNEL
    if spread.has_outliers:
        dead = _output_varies(facts, spread.widest) < DEAD_STD
        told = f"Channel {spread.widest} spans {times} times the median channel"
        if dead:
            evidence = f"{told}, and the output of the channel hardly varies."
            return facts.build_cause(RootCause.DEAD_CHANNEL, evidence, lost + 0.1, PER_CHANNEL)
        return facts.build_cause(RootCause.OUTLIER_CHANNEL, f"{told}.", lost, remedy)
    if spread.is_unequal:
        evidence = (
            f"The widest of {spread.count} channels spans {times} times the median "
            f"channel; {spread.wide} channels span more than 4 times."
        )
        return facts.build_cause(RootCause.UNEQUAL_CHANNELS, evidence, max(lost, 1.0), remedy)
    return None


def _output_varies(facts: SiteFacts, channel: int) -> float:
    """Return the output spread of a channel over the spread of the median channel; 1 if unknown."""
    known = facts.book.activations.get(facts.layer.name)
    if known is None or known.channels is None:
        return 1.0
    spread = known.channels.inner_high - known.channels.inner_low
    alive = spread[spread > 0]
    if len(alive) == 0 or channel >= len(spread):
        return 1.0
    return float(spread[channel] / np.median(alive))


def _few_weights(facts: SiteFacts) -> SiteCause | None:
    """Find a depthwise layer with so few weights that rounding errors move the channel means."""
    if facts.layer.kind is not Kind.DEPTHWISE:
        return None
    weight = facts.book.graph.stored_tensor(str(facts.layer.weight))
    rows = weight.movedim(facts.layer.channel_axis, 0).flatten(1)
    if rows.shape[1] > FEW_WEIGHTS:
        return None
    encoding = encode_weight(weight, facts.site.spec, facts.layer.channel_axis)
    errors = (encoding.fake_quantize(weight) - weight).movedim(facts.layer.channel_axis, 0)
    sums = rows.abs().sum(1)
    shifts = errors.flatten(1).sum(1).abs()[sums > 0] / sums[sums > 0]
    shift = float(shifts.median()) if len(shifts) else 0.0
    if shift < MEAN_SHIFT:
        return None
    evidence = (
        f"{rows.shape[1]} weights per channel: rounding moves the sum of the median channel by "
        f"{100 * shift:.1f} %."
    )
    return facts.build_cause(
        RootCause.FEW_WEIGHTS, evidence, 0.5 + math.log2(shift / MEAN_SHIFT), CORRECT
    )


def clipped_tail(facts: SiteFacts) -> SiteCause | None:
    """Find an encoding with too much clipping: clipping makes the larger part of the error."""
    fit = facts.fit
    if fit.clipping_part < MOSTLY_CLIPPING or shortfall_db(facts) < SHORTFALL_DB:
        return None
    error = fit.rounding_error + fit.clipping_error
    lost = 0.5 * math.log2(error / fit.rounding_error) if fit.rounding_error > 0 else 8.0
    evidence = (
        f"{100 * fit.clipped_share:.2f} % of the values are clipped; that is "
        f"{100 * fit.clipping_part:.0f} % of the error."
    )
    return facts.build_cause(RootCause.CLIPPED_TAIL, evidence, lost, other_range(facts.site))


def _few_codes(facts: SiteFacts) -> SiteCause | None:
    """Find a range stretched by few values: the other values share few codes."""
    short = shortfall_db(facts)
    if short < SHORTFALL_DB or facts.fit.clipping_part >= MOSTLY_CLIPPING:
        return None
    evidence = (
        f"{facts.fit.codes_used} of {facts.fit.code_count} codes occur; the largest weight lies "
        f"{facts.values.peak_in_std:.0f} standard deviations out."
    )
    return facts.build_cause(
        RootCause.FEW_CODES, evidence, short / DB_PER_BIT, other_range(facts.site)
    )


def _few_bits(facts: SiteFacts) -> SiteCause | None:
    bits = facts.site.spec.bits
    remedy: Remedy = ROUND
    evidence = f"{bits} bits give an SQNR of {facts.fit.sqnr_db:.0f} dB; the range fits the values."
    return facts.build_cause(RootCause.FEW_BITS, evidence, 0.25 * (8 - bits), remedy)


def shortfall_db(facts: SiteFacts) -> float:
    """Return the distance in dB of the SQNR below the SQNR of a normal distribution."""
    lower = min(facts.fit.sqnr_db, median_channel_sqnr_db(facts.fit))
    return expected_sqnr_db(max(2, facts.fit.spec.bits)) - max(lower, 0.0)
