"""Causes at an activation: bias, channels, tails, softmax, branches, neighbours, zeros."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from analysis.diagnosis.causes.root_cause import (
    RATIO,
    RootCause,
    SiteCause,
    SiteFacts,
    channel_spread,
)
from analysis.diagnosis.causes.weight_causes import (
    MOSTLY_CLIPPING,
    SHORTFALL_DB,
    clipped_tail,
    shortfall_db,
)
from analysis.diagnosis.remedies import (
    ABSORB,
    ASYMMETRIC,
    EQUALIZE,
    more_activation_bits,
    other_range,
)
from analysis.diagnosis.value_sources import layer_before, layers_by_output
from analysis.ranges.distributions import format_ratio
from analysis.ranges.findings import DB_PER_BIT, LOWEST_SQNR_DB
from quant.graph.layers import Layer
from quant.graph.operators import SOFTMAXES, Kind, aten_operator_names, operator_name
from quant.spec import Estimator

TAILED = aten_operator_names(
    "gelu.default silu.default silu_.default hardswish.default hardswish_.default mish.default"
    " elu.default leaky_relu.default leaky_relu_.default"
)
SQUASHING = SOFTMAXES | aten_operator_names("sigmoid.default hardsigmoid.default")
TAIL_SHARE = 0.35
"""A negative side of at most this share of the positive one is a tail (our choice)."""
UNBALANCED = 16.0
"""Ranges of two inputs that differ by this factor: 4 bits of the smaller one are lost."""
BIASED = 4.0
"""A channel whose mean lies this many standard deviations from zero is mostly bias."""
MOSTLY_ZERO = 0.9


def activation_causes(facts: SiteFacts) -> Iterator[SiteCause | None]:
    """Yield the causes at an activation; a detector without a finding yields None."""
    yield _find_narrow_width(facts)
    yield _find_softmax_cause(facts)
    yield _negative_tail(facts)
    yield _find_unbalanced_operands(facts)
    yield _mostly_zeros(facts) or clipped_tail(facts)
    yield _large_bias(facts) or _find_unequal_channels(facts) or _few_codes(facts)
    yield _few_bits(facts)


def _layer_operators(facts: SiteFacts) -> set[str]:
    """Return the operators of the layer and of the node with the encoded value."""
    graph = facts.book.graph
    return {
        operator_name(graph.node_named(facts.layer.node)),
        operator_name(graph.node_named(facts.layer.output)),
    }


def _find_narrow_width(facts: SiteFacts) -> SiteCause | None:
    """Find a width narrower than the widths of the neighbours."""
    bits = facts.site.spec.bits
    beside = [
        facts.chosen[layer.name].activation.bits
        for layer in _neighbour_layers(facts)
        if not facts.chosen[layer.name].activation.is_float
    ]
    if len(beside) < 2 or min(beside) < 2 * bits:
        return None
    evidence = f"{bits} bits between layers of {min(beside)} bits and more."
    remedy = more_activation_bits(min(beside))
    return facts.build_cause(
        RootCause.NARROW_BESIDE_WIDE, evidence, 0.25 * (min(beside) - bits), remedy
    )


def _neighbour_layers(facts: SiteFacts) -> list[Layer]:
    own = facts.layer
    layers = facts.book.graph.layers
    return [one for one in layers if own.output in one.inputs or one.output in own.inputs]


def _find_softmax_cause(facts: SiteFacts) -> SiteCause | None:
    loud = max(0.0, LOWEST_SQNR_DB - facts.fit.sqnr_db)
    short = shortfall_db(facts)
    if not _layer_operators(facts) & SQUASHING or (short < SHORTFALL_DB and not loud):
        return None
    step = float(facts.fit.scale[0])
    evidence = (
        f"Values of 0 to 1 in steps of {step:.3g}: {facts.fit.codes_used} codes occur, and the "
        f"SQNR is {facts.fit.sqnr_db:.0f} dB."
    )
    bits = _next_bits(facts)
    lost = 1 + max(short, loud) / DB_PER_BIT
    return facts.build_cause(RootCause.SOFTMAX_ENCODING, evidence, lost, more_activation_bits(bits))


def _negative_tail(facts: SiteFacts) -> SiteCause | None:
    """Find a function with a short negative side, and an encoding that wastes or loses the side."""
    low, high = facts.values.low, facts.values.high
    if not _layer_operators(facts) & TAILED or low >= 0 or -low > TAIL_SHARE * high:
        return None
    step = float(facts.fit.scale[0])
    if facts.site.spec.symmetric:
        lost = 1.0 + math.log2(2 * high / (high - low))
        evidence = (
            f"Values from {low:.2g} to {high:.2g} in a symmetric encoding: nearly half of the "
            "codes stay unused."
        )
        return facts.build_cause(RootCause.NEGATIVE_TAIL, evidence, lost, ASYMMETRIC)
    held = min(-low, max(0.0, -float(facts.fit.low[0]))) / step
    if held >= 4:
        return None
    evidence = f"The negative side down to {low:.2g} has {held:.1f} steps of {step:.2g}."
    remedy = more_activation_bits(_next_bits(facts))
    return facts.build_cause(
        RootCause.NEGATIVE_TAIL, evidence, 0.5 + math.log2(4 / max(held, 0.25)), remedy
    )


def _find_unbalanced_operands(facts: SiteFacts) -> SiteCause | None:
    if facts.layer.kind not in (Kind.ADD, Kind.CONCAT):
        return None
    graph, known = facts.book.graph, facts.book.activations
    by_output = layers_by_output(graph)
    nodes = graph.node_named(facts.layer.node).all_input_nodes
    sources = {layer.name for node in nodes if (layer := layer_before(node, by_output))}
    ranges = [known[name].largest_magnitude for name in sources if name in known]
    ranges = [value for value in ranges if value > 0]
    if len(ranges) < 2 or max(ranges) / min(ranges) < UNBALANCED:
        return None
    ratio = max(ranges) / min(ranges)
    evidence = (
        f"The inputs reach {max(ranges):.3g} and {min(ranges):.3g}, {ratio:.0f} times apart, in "
        "one encoding."
    )
    remedy = more_activation_bits(_next_bits(facts))
    return facts.build_cause(RootCause.UNBALANCED_INPUTS, evidence, math.log2(ratio), remedy)


def _mostly_zeros(facts: SiteFacts) -> SiteCause | None:
    """Find a range decided by zeros: the few other values are clipped."""
    values = facts.values
    share = values.zeros / max(values.count, 1)
    clipped = clipped_tail(facts)
    if share < MOSTLY_ZERO or clipped is None:
        return None
    evidence = (
        f"{100 * share:.0f} % of the values are zero, so that the range leaves out others: "
        f"{clipped.evidence}"
    )
    return replace(clipped, cause=RootCause.ZERO_HEAVY, evidence=evidence)


def _large_bias(facts: SiteFacts) -> SiteCause | None:
    """Find channels with a range set by the bias instead of by the variation."""
    channels = facts.values.channels
    if channels is None or facts.layer.bias is None:
        return None
    std = (channels.inner_high - channels.inner_low) / 4
    largest = channels.largest_by_channel
    top = largest >= 0.5 * largest.max(initial=0.0)
    biased = top & (np.abs(channels.mean) >= BIASED * np.maximum(std, 1e-12))
    others = largest[~biased & (largest > 0)]
    if not biased.any() or len(others) == 0:
        return None
    ratio = float(largest[biased].max() / np.median(others))
    if ratio < RATIO / 2:
        return None
    place = int(np.argmax(np.where(biased, largest, 0)))
    evidence = (
        f"{int(biased.sum())} channels lie far from zero by their bias; channel {place} has a mean "
        f"of {channels.mean[place]:.3g} and reaches {ratio:.0f} times the median channel."
    )
    remedy = ABSORB if facts.begins_pair else more_activation_bits(_next_bits(facts))
    return facts.build_cause(RootCause.LARGE_BIAS, evidence, 0.5 + math.log2(ratio), remedy)


def _find_unequal_channels(facts: SiteFacts) -> SiteCause | None:
    channels = facts.values.channels
    if channels is None:
        return None
    spread = channel_spread(channels)
    remedy = EQUALIZE if facts.begins_pair else more_activation_bits(_next_bits(facts))
    lost = math.log2(spread.ratio)
    told = f"Channel {spread.widest} reaches {format_ratio(spread.ratio)} times the median channel"
    if spread.has_outliers:
        return facts.build_cause(RootCause.OUTLIER_CHANNEL, f"{told}.", lost, remedy)
    if spread.ratio >= RATIO:
        evidence = f"{told}; {spread.wide} of {spread.count} channels reach more than 4 times."
        return facts.build_cause(RootCause.UNEQUAL_CHANNELS, evidence, lost, remedy)
    return None


def _few_codes(facts: SiteFacts) -> SiteCause | None:
    """Find a range that few values stretch: the others share few codes."""
    short = shortfall_db(facts)
    if short < SHORTFALL_DB or facts.fit.clipping_part >= MOSTLY_CLIPPING:
        return None
    evidence = (
        f"The largest value lies {facts.values.peak_in_std:.0f} standard deviations out; "
        f"{facts.fit.codes_used} of {facts.fit.code_count} codes occur, and the SQNR is "
        f"{facts.fit.sqnr_db:.0f} dB."
    )
    least_error = facts.site.spec.estimator is Estimator.MSE
    remedy = more_activation_bits(_next_bits(facts)) if least_error else other_range(facts.site)
    return facts.build_cause(RootCause.FEW_CODES, evidence, 0.5 * short / DB_PER_BIT, remedy)


def _few_bits(facts: SiteFacts) -> SiteCause | None:
    bits = facts.site.spec.bits
    remedy = more_activation_bits(_next_bits(facts))
    evidence = f"{bits} bits give an SQNR of {facts.fit.sqnr_db:.0f} dB."
    return facts.build_cause(RootCause.FEW_BITS, evidence, 0.25 * (8 - bits), remedy)


def _next_bits(facts: SiteFacts) -> int:
    return 8 if facts.site.spec.bits < 8 else 16
