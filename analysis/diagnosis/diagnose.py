"""The suspect card of a layer: causes, measured evidence, and repairs to try."""

import math
from dataclasses import dataclass

from analysis.diagnosis.remedies import CORRECT, ROUND, Remedy, more_bits_remedy, remedies_for_cause
from analysis.ranges.distributions import format_ratio
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
    examine_tensor_fit,
    expected_sqnr_db,
    median_channel_sqnr_db,
)
from analysis.ranges.tensors import RangeBook
from analysis.sensitivity.sweep import Question
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.graph.layer_pairs import Pair
from quant.simulation.plan import Side, Site, plan_sites
from quant.spec import SpecChange

# A 5 x 5 kernel on one channel, as in depthwise layers: the rounding errors of so few weights do
# not average out, so the mean of a channel moves (white paper, section 4.2).
FEW_WEIGHTS = 25


@dataclass(frozen=True, slots=True)
class Evidence:
    """A number measured on a layer: name, value, suspect range, and whether suspect."""

    name: str
    value: str
    limit: str
    suspect: bool


@dataclass(frozen=True, slots=True)
class SuspectCard:
    """The findings against a layer: causes by bits lost, the numbers, repairs to try."""

    question: Question
    causes: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    remedies: tuple[Remedy, ...]


def build_suspect_card(
    book: RangeBook, config: QuantConfig, question: Question, pairs: tuple[Pair, ...] = ()
) -> SuspectCard:
    """Return the findings against a layer at the question's bits; `pairs` can be equalized.

    Activations need calibration statistics.
    """
    causes: list[Finding] = []
    evidence: list[Evidence] = []
    candidates: list[tuple[Finding, list[Remedy]]] = []
    sites = sites_of_question(book, question_config(book, config, question), question)
    for site in sites:
        item = _examine_site(book, site)
        if item is None:
            continue
        findings = [*item.findings, *_few_weights_finding(book, site)]
        causes += findings
        evidence += _tensor_evidence(book, site, item)
        candidates += [(f, remedies_for_cause(f.cause, site, item, pairs)) for f in findings]
    candidates.sort(key=lambda entry: -entry[0].bits_lost)
    remedies = {remedy.title: remedy for _, group in candidates for remedy in group}
    if not remedies and any(site.side is Side.WEIGHTS for site in sites):
        remedies = {remedy.title: remedy for remedy in (CORRECT, ROUND)}
    wider = more_bits_remedy(question)
    if wider is not None:
        remedies[wider.title] = wider
    causes.sort(key=lambda finding: -finding.bits_lost)
    return SuspectCard(question, tuple(causes), tuple(evidence), tuple(remedies.values()))


def question_config(book: RangeBook, config: QuantConfig, question: Question) -> QuantConfig:
    """Return the configuration with the question's layer at the question's bits."""
    change = SpecChange(bits=question.bits)
    return change_layer_encoding(book, config, question, change, change)


def change_layer_encoding(
    book: RangeBook,
    config: QuantConfig,
    question: Question,
    weight: SpecChange | None,
    activation: SpecChange | None,
) -> QuantConfig:
    """Return the configuration with changed encodings of one layer, on the question's sides.

    An average pool shares the encoding of the source, so the source changes.
    """
    for site in sites_of_question(book, config, question):
        owner = site.shared_with or site.layer
        if site.side is Side.WEIGHTS and weight is not None:
            config = config.with_layer_change(owner, weight=weight)
        if site.side is Side.ACTIVATIONS and activation is not None:
            config = config.with_layer_change(owner, activation=activation)
    return config


def sites_of_question(book: RangeBook, config: QuantConfig, question: Question) -> list[Site]:
    """Return the sites of the question's layer on the question's sides."""
    return [
        site
        for site in plan_sites(book.graph, config)
        if site.layer == question.layer and question.side.includes_role(site.side)
    ]


def _examine_site(book: RangeBook, site: Site) -> ExaminedTensor | None:
    distributions = book.distributions_by_layer(site.side)
    if site.layer not in distributions:
        return None
    try:
        fit = None if site.spec.is_float else book.fit_at_site(site, site.spec)
    except QuantError:  # an estimator that needs what this site does not have
        fit = None
    return examine_tensor_fit(distributions[site.layer], fit)


def _weights_per_channel(book: RangeBook, site: Site) -> int:
    layer = book.graph[site.layer]
    channels = layer.weight_shape[layer.channel_axis] if layer.weight_shape else 1
    return book.weights[site.layer].count // max(channels, 1)


def _few_weights_finding(book: RangeBook, site: Site) -> list[Finding]:
    if site.side is not Side.WEIGHTS:
        return []
    count = _weights_per_channel(book, site)
    if count > FEW_WEIGHTS:
        return []
    kind = str(book.graph[site.layer].kind).capitalize()
    sentence = (
        f"{kind} layer with {count} weights per channel: rounding errors do not average out "
        "and shift the channel's mean."
    )
    return [Finding(Cause.FEW_WEIGHTS, sentence, 0.0)]


def _tensor_evidence(book: RangeBook, site: Site, item: ExaminedTensor) -> list[Evidence]:
    """Return the numbers of one tensor, suspect or not."""
    what, distribution = site.side.noun.capitalize(), item.distribution
    weight = site.side is Side.WEIGHTS
    rows = [] if item.fit is None else _encoding_evidence(what, item.fit)
    if distribution.channels is not None:
        ratio = distribution.channels.widest_to_median_ratio
        name, limit = f"{what}: widest / median channel", f"from {CHANNEL_RATIO:.0f}"
        rows.append(Evidence(name, format_ratio(ratio), limit, ratio >= CHANNEL_RATIO))
    most = WEIGHT_KURTOSIS if weight else ACTIVATION_KURTOSIS
    heavy = distribution.kurtosis >= most
    rows.append(
        Evidence(f"{what}: kurtosis", f"{distribution.kurtosis:.1f}", f"from {most:.0f}", heavy)
    )
    if weight:
        count, few = str(_weights_per_channel(book, site)), bool(_few_weights_finding(book, site))
        limit = f"up to {FEW_WEIGHTS}"
        rows.append(Evidence("Weights per channel", count, limit, few))
    return rows


def _encoding_evidence(what: str, fit: Fit) -> list[Evidence]:
    limit = max(expected_sqnr_db(fit.spec.bits) - SHORTFALL_DB, LOWEST_SQNR_DB)
    below, median = f"below {limit:.1f} dB", median_channel_sqnr_db(fit)
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
