"""Find the root cause at each site of a configuration; the search includes calibration ranges."""

from collections.abc import Iterable

from analysis.diagnosis.causes.activation_causes import activation_causes
from analysis.diagnosis.causes.root_cause import RootCause, SiteCause, SiteFacts
from analysis.diagnosis.causes.weight_causes import weight_causes
from analysis.diagnosis.remedies import Remedy
from analysis.ranges.tensors import RangeBook
from analysis.study import Study
from quant.config import QuantConfig, Resolved
from quant.errors import QuantError
from quant.inputs import arrange_batch, sample_count
from quant.passes.calibrate import Calibrate
from quant.progress import Progress, Steps
from quant.simulation.plan import Side, Site, plan_sites

ENOUGH_IMAGES = 64
"""With more calibration images ranges hardly grow (our choice)."""
CHECKED_IMAGES = 64
OUTGROWN = 1.15
"""Values beyond this many times the calibrated range were not foreseen."""
MORE_IMAGES = Remedy(
    "More calibration data", "Ranges come from values that were seen; more data show more."
)


def find_causes(study: Study, config: QuantConfig, sides: Iterable[Side]) -> tuple[SiteCause, ...]:
    """Return the worst cause of each site on the given sides, the largest loss of bits first.

    The study must be calibrated if `sides` contain activations.
    """
    book, wanted = study.range_book(), set(sides)
    chosen = config.resolve_layers(study.network.graph.layers)
    found: list[SiteCause] = []
    for site in plan_sites(study.network.graph, config):
        side = site.side
        if side not in wanted or site.spec.is_float or site.shared_with is not None:
            continue
        if site.layer not in book.distributions_by_layer(site.side):
            continue
        facts = _facts_of_site(study, book, site, chosen)
        if facts is None:
            continue
        causes = weight_causes(facts) if site.side is Side.WEIGHTS else activation_causes(facts)
        known = [cause for cause in causes if cause is not None]
        if known:
            found.append(max(known, key=lambda cause: cause.bits_lost))
    return tuple(sorted(found, key=lambda cause: -cause.bits_lost))


def _facts_of_site(study: Study, book: RangeBook, site: Site, chosen: Resolved) -> SiteFacts | None:
    try:
        fit = book.fit_at_site(site, site.spec)
    except QuantError:  # an estimator that needs what this site does not have
        return None
    graph = study.network.graph
    return SiteFacts(
        book,
        site,
        graph[site.layer],
        book.distributions_by_layer(site.side)[site.layer],
        fit,
        chosen,
        study.equalizable_pairs(),
    )


def find_few_images(study: Study) -> Steps[SiteCause | None]:
    """Return the cause "too few calibration images" if values of other images exceed the ranges.

    The search reads up to 64 scored images, without labels; no range is chosen from the images.
    """
    known, network = study.known_statistics, study.network
    if study.scored is None or not 0 < known.images < ENOUGH_IMAGES:
        return None
    yield Progress(0.0, "Comparing the ranges of other data")
    images = study.scored_images.sample(min(CHECKED_IMAGES, len(study.scored_images)), 0)
    size = network.forward_batch_size
    batches = (
        arrange_batch(batch.inputs)
        for batch in images.batches(size)
        if network.graph.batch is None or sample_count(batch.inputs) == size
    )
    fresh = yield from Calibrate(len(images))(network.graph, batches)
    growth: dict[str, float] = {}
    for name, old in known.statistics.items():
        before = max(abs(old.low), abs(old.high))
        after = max(abs(fresh[name].low), abs(fresh[name].high)) if name in fresh else before
        if before > 0:
            growth[name] = after / before
    outgrown = [name for name, ratio in growth.items() if ratio > OUTGROWN]
    if len(outgrown) < 0.25 * len(growth) or not outgrown:
        return None
    worst = max(outgrown, key=growth.__getitem__)
    evidence = (
        f"{known.images} {network.noun}s chose the ranges; on {len(images)} others, values of "
        f"{len(outgrown)} of {len(growth)} tensors reach further, those of this layer "
        f"{growth[worst]:.1f} times as far."
    )
    return SiteCause(worst, Side.ACTIVATIONS, RootCause.FEW_IMAGES, evidence, 8.0, MORE_IMAGES)
