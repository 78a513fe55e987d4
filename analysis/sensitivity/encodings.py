"""The grids that a sweep's questions put into a network, and the keys of their answers."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from analysis.calibration import Calibrated
from analysis.network import Network
from analysis.sensitivity.sweep import Question, Sweep, View
from quant.config import QuantConfig
from quant.encoding import Encoding
from quant.engine.program import Program, compile_program
from quant.errors import ConfigError
from quant.graph.float_graph import FloatGraph
from quant.ranges.batch_norm_moments import Moments, propagate
from quant.ranges.statistics import Statistics
from quant.simulation.choose_encodings import (
    encode_activation_site,
    encode_weight_site,
    search_activation_sites,
)
from quant.simulation.plan import Role, Side, Site, plan
from quant.spec import Estimator

FORMAT = 1
"""Of what is kept: another number, and no old answer is found."""
MIN_BITS, MAX_BITS = 2, 16


class Grids:
    """Grids for any bits from one configuration's other choices; each is made when first asked.

    Raises:
        ConfigError: a rule of the configuration matches no layer.
    """

    def __init__(self, network: Network, calibrated: Calibrated, config: QuantConfig) -> None:
        self.network, self._calibrated = network, calibrated
        self._sites = {site.name: site for site in plan(network.graph, config)}
        self._found: dict[tuple[str | None, Side], tuple[str, ...]] = {}
        self._made: dict[tuple[str, int], Encoding] = {}
        self._moments: dict[str, Moments] | None = None
        self.program = program_of(network.graph)
        self._graph = digest_of(network.graph)

    def sites(self, layer: str | None, side: Side) -> tuple[str, ...]:
        """Return the names of the sites of a layer, or of all layers, on a side."""
        found = self._found.get((layer, side))
        if found is None:
            found = self._found[layer, side] = tuple(
                site.name
                for site in self._sites.values()
                if layer in (None, site.layer) and side.includes(site.role)
            )
        return found

    def of(self, sites: Iterable[str], bits: int) -> dict[str, Encoding]:
        """Return the grid of each site at these bits.

        Raises:
            CalibrationError: an activation has no statistics.
        """
        return {name: self._grid(self._root(name), bits) for name in sites}

    def key(self, question: Question) -> str:
        """Return what the answer to a question is kept under: all that it depends on."""
        own = self.sites(question.layer or None, question.side)
        if question.view is View.ONLY:
            return self._digest("only", *self._identities(own, question.bits))
        everything = self.sites(None, question.side)
        left_out = own if question.layer else ()
        return self._digest("all but", *left_out, *self._identities(everything, question.bits))

    def float_key(self) -> str:
        """Return what the rows of the float network are kept under."""
        return self._digest("float")

    def _digest(self, *parts: str) -> str:
        text = "\n".join((str(FORMAT), self._graph, *parts))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _root(self, name: str) -> Site:
        """Return the site whose grid this one has: its own, or that of its source."""
        site = self._sites[name]
        while site.shared_with is not None:
            site = self._sites[site.shared_with]
        return site

    def _grid(self, site: Site, bits: int) -> Encoding:
        if (site.name, bits) not in self._made:
            self._made.update(self._search_all(site, bits))
        if (site.name, bits) not in self._made:
            self._made[site.name, bits] = self._make(_at(site, bits))
        return self._made[site.name, bits]

    def _search_all(self, site: Site, bits: int) -> dict[tuple[str, int], Encoding]:
        """Return the grids of all activations that are searched for as this one is."""
        if site.role is Role.WEIGHT:
            return {}
        alike = [_at(other, bits) for other in self._sites.values() if other.spec == site.spec]
        found = search_activation_sites(alike, self._calibrated.statistics)
        return {(name, bits): grid for name, grid in found.items()}

    def _make(self, site: Site) -> Encoding:
        if site.role is Role.WEIGHT:
            return encode_weight_site(self.network.graph, site)
        if site.spec.estimator is Estimator.BATCH_NORM and self._moments is None:
            self._moments = propagate(self.network.graph)
        return encode_activation_site(
            site, self._calibrated.statistics, self._calibrated.input_range, self._moments
        )

    def _identities(self, sites: Iterable[str], bits: int) -> Iterable[str]:
        """Yield for each site all that its grid follows from, besides the graph."""
        for name in sites:
            root = self._root(name)
            parts = [name, root.name, repr(_at(root, bits).spec)]
            if root.role is Role.ACTIVATION:
                parts.append(_identity(self._calibrated, root.name))
            yield " ".join(parts)


def _at(site: Site, bits: int) -> Site:
    return replace(site, spec=site.spec.with_bits(bits))


@lru_cache(maxsize=2)
def program_of(graph: FloatGraph) -> Program:
    """Return the program of a graph, with a place for a grid at every site."""
    return compile_program(graph, plan(graph, QuantConfig()))


@lru_cache(maxsize=2)
def digest_of(graph: FloatGraph) -> str:
    """Return a digest of all that a graph computes with, whatever it was made from."""
    return program_of(graph).portable.digest


@lru_cache(maxsize=512)
def _identity(calibrated: Calibrated, site: str) -> str:
    """Return a digest of the statistics that a site's grid is chosen from."""
    statistics = calibrated.statistics.get(site)
    if statistics is None:
        return repr(calibrated.input_range)
    return _digest_of(statistics)


def _digest_of(statistics: Statistics) -> str:
    limits = (statistics.count, statistics.zeros, statistics.low, statistics.high)
    found = hashlib.sha256(repr((limits, statistics.exponent)).encode())
    found.update(statistics.counts.contiguous().numpy().data)
    if statistics.rows is not None:
        found.update(statistics.rows.contiguous().numpy().data)
    return found.hexdigest()[:32]


def questions_of(network: Network, sweep: Sweep, grids: Grids) -> tuple[Question, ...]:
    """Return the questions of a sweep, layer by layer in the order of the network.

    Raises:
        ConfigError: a layer is not the network's, or bits are out of bounds.
    """
    if wrong := [bits for bits in sweep.bits if not MIN_BITS <= bits <= MAX_BITS]:
        raise ConfigError(f"Bits of a sweep must be {MIN_BITS} to {MAX_BITS}; got {wrong[0]}.")
    names = [layer.name for layer in network.graph.layers]
    unknown = sorted(set(sweep.layers or ()) - set(names))
    if unknown:
        raise ConfigError(
            f"Layers must be the network's; got {unknown[0]!r}. Choose among {', '.join(names)}."
        )
    return tuple(
        Question(name, bits, side, sweep.view)
        for name in names
        if sweep.layers is None or name in sweep.layers
        for side in sweep.sides
        if grids.sites(name, side)
        for bits in sweep.bits
    )


@lru_cache(maxsize=2)
def grids_of(network: Network, calibrated: Calibrated, config: QuantConfig) -> Grids:
    """Return the grids of a network, the same ones to all depths: finding them takes seconds.

    Raises:
        ConfigError: a rule of the configuration matches no layer.
    """
    return Grids(network, calibrated, config)
