"""The suspect card of a layer: causes, the numbers as evidence, and the repairs to try."""

import math
from dataclasses import dataclass

from analysis.diagnosis.remedies import CORRECT, ROUND, Remedy, more_bits, remedies_for
from analysis.ranges.encoding_fit import Fit
from analysis.ranges.findings import (
    ACTIVATION_KURTOSIS,
    CHANNEL_RATIO,
    LOWEST_SQNR_DB,
    MAX_CLIPPED_SHARE,
    SHORTFALL_DB,
    WEIGHT_KURTOSIS,
    Cause,
    ExaminedTensor,
    Finding,
    examine_tensor,
    expected_sqnr_db,
    median_sqnr_db,
)
from analysis.ranges.tensors import RangeBook
from analysis.sensitivity.sweep import Question
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.graph.layer_pairs import Pair
from quant.simulation.plan import Role, Site, plan
from quant.spec import SpecChange

# A 5 x 5 kernel on one channel, as depthwise layers have: the rounding errors of so few weights do
# not average out, so the mean of a channel moves (white paper, section 4.2).
FEW_WEIGHTS = 25


@dataclass(frozen=True, slots=True)
class Evidence:
    """A number measured on a layer: what, how much, what would be suspect, and whether it is."""

    name: str
    value: str
    limit: str
    suspect: bool


@dataclass(frozen=True, slots=True)
class SuspectCard:
    """What speaks against a layer: causes, costliest first; all numbers; repairs, best first."""

    question: Question
    causes: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    remedies: tuple[Remedy, ...]


def suspect_card(
    book: RangeBook, config: QuantConfig, question: Question, pairs: tuple[Pair, ...] = ()
) -> SuspectCard:
    """Return what speaks against a layer at the bits in question; `pairs` can be equalized.

    Activations are judged where calibration saw them.
    """
    causes: list[Finding] = []
    evidence: list[Evidence] = []
    proposed: list[tuple[Finding, list[Remedy]]] = []
    sites = sites_of(book, asked_config(book, config, question), question)
    for site in sites:
        item = _examined(book, site)
        if item is None:
            continue
        found = [*item.findings, *_few_weights(book, site)]
        causes += found
        evidence += _evidence(book, site, item)
        proposed += [(f, remedies_for(f.cause, site, item, pairs)) for f in found]
    proposed.sort(key=lambda entry: -entry[0].bits_lost)
    remedies = {remedy.title: remedy for _, group in proposed for remedy in group}
    if not remedies and any(site.role is Role.WEIGHT for site in sites):
        remedies = {remedy.title: remedy for remedy in (CORRECT, ROUND)}
    wider = more_bits(question)
    if wider is not None:
        remedies[wider.title] = wider
    causes.sort(key=lambda finding: -finding.bits_lost)
    return SuspectCard(question, tuple(causes), tuple(evidence), tuple(remedies.values()))


def asked_config(book: RangeBook, config: QuantConfig, question: Question) -> QuantConfig:
    """Return the configuration with the layer in question at the bits in question."""
    change = SpecChange(bits=question.bits)
    return with_grid(book, config, question, change, change)


def with_grid(
    book: RangeBook,
    config: QuantConfig,
    question: Question,
    weight: SpecChange | None,
    activation: SpecChange | None,
) -> QuantConfig:
    """Return the configuration with the grids of one layer changed, on the sides asked about.

    The grid of an average pool is that of its source, so the source is what changes.
    """
    for site in sites_of(book, config, question):
        owner = site.shared_with or site.layer
        if site.role is Role.WEIGHT and weight is not None:
            config = config.with_change(owner, weight=weight)
        if site.role is Role.ACTIVATION and activation is not None:
            config = config.with_change(owner, activation=activation)
    return config


def sites_of(book: RangeBook, config: QuantConfig, question: Question) -> list[Site]:
    """Return the sites of the layer in question on the sides in question."""
    return [
        site
        for site in plan(book.graph, config)
        if site.layer == question.layer and question.side.includes(site.role)
    ]


def _examined(book: RangeBook, site: Site) -> ExaminedTensor | None:
    known = book.distributions(site.role)
    if site.layer not in known:
        return None
    try:
        fit = None if site.spec.is_float else book.fit(site, site.spec)
    except QuantError:  # an estimator that needs what this site does not have
        fit = None
    return examine_tensor(known[site.layer], fit)


def _weights_a_channel(book: RangeBook, site: Site) -> int:
    layer = book.graph[site.layer]
    channels = layer.weight_shape[layer.channel_axis] if layer.weight_shape else 1
    return book.weights[site.layer].count // max(channels, 1)


def _few_weights(book: RangeBook, site: Site) -> list[Finding]:
    if site.role is not Role.WEIGHT:
        return []
    count = _weights_a_channel(book, site)
    if count > FEW_WEIGHTS:
        return []
    kind = str(book.graph[site.layer].kind).capitalize()
    sentence = (
        f"{kind} layer with {count} weights a channel: their rounding errors do not average out "
        "and move the channel's mean."
    )
    return [Finding(Cause.FEW_WEIGHTS, sentence, 0.0)]


def _evidence(book: RangeBook, site: Site, item: ExaminedTensor) -> list[Evidence]:
    """Return all numbers of one tensor, suspect or not."""
    what, found = str(site.role).capitalize(), item.distribution
    weight = site.role is Role.WEIGHT
    rows = [] if item.fit is None else _grid_evidence(what, item.fit)
    if found.channels is not None:
        ratio = found.channels.ratio
        name, limit = f"{what}: widest channel / median one", f"from {CHANNEL_RATIO:.0f}"
        rows.append(Evidence(name, f"{ratio:.1f}", limit, ratio >= CHANNEL_RATIO))
    most = WEIGHT_KURTOSIS if weight else ACTIVATION_KURTOSIS
    heavy = found.kurtosis >= most
    rows.append(Evidence(f"{what}: kurtosis", f"{found.kurtosis:.1f}", f"from {most:.0f}", heavy))
    if weight:
        count, few = str(_weights_a_channel(book, site)), bool(_few_weights(book, site))
        limit = f"up to {FEW_WEIGHTS}"
        rows.append(Evidence("Weights a channel", count, limit, few))
    return rows


def _grid_evidence(what: str, fit: Fit) -> list[Evidence]:
    limit = max(expected_sqnr_db(fit.spec.bits) - SHORTFALL_DB, LOWEST_SQNR_DB)
    below, median = f"below {limit:.1f} dB", median_sqnr_db(fit)
    name = f"{what}: SQNR at {fit.spec.bits} bits"
    rows = [Evidence(name, f"{fit.sqnr_db:.1f} dB", below, fit.sqnr_db < limit)]
    if math.isfinite(median):
        name = f"{what}: SQNR of the median channel"
        rows.append(Evidence(name, f"{median:.1f} dB", below, median < limit))
    share, clipped = f"{100 * fit.clipped_share:.2f} %", fit.clipped_share >= MAX_CLIPPED_SHARE
    rows.append(
        Evidence(f"{what}: clipped", share, f"from {100 * MAX_CLIPPED_SHARE:.0f} %", clipped)
    )
    return rows
