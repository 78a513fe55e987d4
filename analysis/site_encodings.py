"""Encodings of a network's sites for every width, each chosen once."""

from collections.abc import Hashable, Iterable
from dataclasses import replace

from analysis.calibration import Calibrated
from analysis.network import Network
from quant.config import QuantConfig
from quant.encoding import Encoding
from quant.ranges.batch_norm_moments import Moments, propagate_moments
from quant.simulation.choose_encodings import (
    encode_activation_site,
    encode_weight_site,
    search_activation_sites,
)
from quant.simulation.plan import Side, Site, plan_sites
from quant.spec import Estimator


class SiteEncodings:
    """The encoding of each site at every width; a configuration gives the other choices.

    An encoding is chosen at the first request. `answer_keys` holds the keys of answers about the
    encodings, by question, for a page that asks again and again.

    Raises:
        ConfigError: a rule of the configuration matches no layer.
    """

    def __init__(self, network: Network, calibrated: Calibrated, config: QuantConfig) -> None:
        self.network, self._calibrated = network, calibrated
        self._sites = {site.name: site for site in plan_sites(network.graph, config)}
        self._found: dict[tuple[str | None, Side], tuple[str, ...]] = {}
        self._made: dict[tuple[str, int], Encoding] = {}
        self._identities: dict[tuple[tuple[str, ...], int], str] = {}
        self._moments: dict[str, Moments] | None = None
        self.answer_keys: dict[Hashable, str] = {}
        self.program = network.compiled_program

    def site_names(self, layer: str | None, side: Side) -> tuple[str, ...]:
        """Return the names of the sites of a layer, or of the whole network, on a side."""
        found = self._found.get((layer, side))
        if found is None:
            found = self._found[layer, side] = tuple(
                site.name
                for site in self._sites.values()
                if layer in (None, site.layer) and side.includes_role(site.side)
            )
        return found

    def encodings_at_bits(self, sites: Iterable[str], bits: int) -> dict[str, Encoding]:
        """Return the encoding of each site at `bits` bits.

        Raises:
            CalibrationError: an activation has no statistics.
        """
        return {name: self._encoding_at_bits(self._root_site(name), bits) for name in sites}

    def _root_site(self, name: str) -> Site:
        """Return the owner of a site's encoding: the site, or the source of a shared encoding."""
        site = self._sites[name]
        while site.shared_with is not None:
            site = self._sites[site.shared_with]
        return site

    def _encoding_at_bits(self, site: Site, bits: int) -> Encoding:
        if (site.name, bits) not in self._made:
            self._made.update(self._search_shared_spec(site, bits))
        if (site.name, bits) not in self._made:
            self._made[site.name, bits] = self._make_encoding(_site_at_bits(site, bits))
        return self._made[site.name, bits]

    def _search_shared_spec(self, site: Site, bits: int) -> dict[tuple[str, int], Encoding]:
        """Return the encodings of the activations with the spec of `site`, found in one search."""
        if site.side is Side.WEIGHTS:
            return {}
        alike = [
            _site_at_bits(other, bits) for other in self._sites.values() if other.spec == site.spec
        ]
        found = search_activation_sites(alike, self._calibrated.statistics)
        return {(name, bits): encoding for name, encoding in found.items()}

    def _make_encoding(self, site: Site) -> Encoding:
        if site.side is Side.WEIGHTS:
            return encode_weight_site(self.network.graph, site)
        if site.spec.estimator is Estimator.BATCH_NORM and self._moments is None:
            self._moments = propagate_moments(self.network.graph)
        return encode_activation_site(
            site, self._calibrated.statistics, self._calibrated.input_range, self._moments
        )

    def encoding_identities(self, sites: tuple[str, ...], bits: int) -> str:
        """Return a line for each site: the facts that determine the encoding, besides the graph."""
        found = self._identities.get((sites, bits))
        if found is None:
            lines = (self._encoding_identity(name, bits) for name in sites)
            found = self._identities[sites, bits] = "\n".join(lines)
        return found

    def _encoding_identity(self, name: str, bits: int) -> str:
        root = self._root_site(name)
        parts = [name, root.name, repr(_site_at_bits(root, bits).spec)]
        if root.side is Side.ACTIVATIONS:
            parts.append(self._calibrated.statistics_digest(root.name))
        return " ".join(parts)


def _site_at_bits(site: Site, bits: int) -> Site:
    return replace(site, spec=site.spec.with_bits(bits))
