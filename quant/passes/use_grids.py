"""Put given grids in the place of calibrated ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from quant.encoding import Encoding
from quant.graph.float_graph import FloatGraph
from quant.inputs import Inputs
from quant.progress import Progress, Steps
from quant.simulation.plan import Site
from quant.simulation.quant_graph import QuantGraph
from quant.spec import Granularity, QuantSpec


@dataclass(frozen=True, eq=False, slots=True)
class GridsUsed:
    """The sites that have a given grid now, and those that keep their own, with the reason."""

    used: tuple[str, ...]
    kept: dict[str, str]


@dataclass(frozen=True, eq=False, slots=True)
class UseGrids:
    """Use grids that come from elsewhere, such as a file, in the place of calibrated ones.

    Where the configuration asks for another width or granularity than the given encoding has, as it
    does once a layer has been edited, the calibrated grid stays. `grids` are by site; `source` is
    what to call their origin.
    """

    grids: Mapping[str, Encoding] = field(default_factory=dict)
    source: str = "a file"

    def __call__(
        self, graph: FloatGraph, quantized: QuantGraph, batches: Iterable[Inputs] = ()
    ) -> Steps[GridsUsed]:
        """Set the grids of `quantized` in place; a site that shares another's grid follows it."""
        del graph, batches
        yield Progress(0.0, f"Using the encodings of {self.source}")
        return self.apply_at_once(quantized)

    def apply_at_once(self, quantized: QuantGraph) -> GridsUsed:
        """Do at once what a call does."""
        used, kept = [], {}
        for site in quantized.sites:
            given = self.grids.get(site.name)
            if given is None and site.shared_with in used:
                quantizer = quantized.quantizers[str(site.shared_with)]
                quantized.quantizers[site.name].set_encoding(quantizer.encoding)
            if given is None:
                continue
            problem = encoding_misfit(given, site)
            if problem:
                kept[site.name] = problem
                continue
            quantized.quantizers[site.name].set_encoding(given)
            used.append(site.name)
        return GridsUsed(tuple(used), kept)


def encoding_misfit(given: Encoding, site: Site) -> str:
    """Return why a grid is not the one that the configuration wants at a site, or nothing."""
    spec = site.spec
    if spec.is_float:
        return "the configuration leaves it float"
    if given.bits != spec.bits:
        return f"the configuration has {spec.bits} bits, the given encoding {given.bits}"
    if _widths_of_channels(given) != spec.channel_bits:
        return "the configuration has other widths of channels than the given encoding"
    if not _has_same_granularity(given, spec):
        return f"the configuration is {spec.granularity}, the given encoding is not"
    return ""


def _widths_of_channels(given: Encoding) -> tuple[int, ...]:
    """Return the width of each channel; empty where all have one."""
    bits = given.channel_bits
    return () if bits is None or bits.dim() == 0 else tuple(bits.flatten().tolist())


def _has_same_granularity(given: Encoding, spec: QuantSpec) -> bool:
    several = [size for size in given.scale.shape if size > 1]
    if spec.granularity is Granularity.PER_TENSOR:
        return given.scale.dim() == 0
    if spec.granularity is Granularity.PER_CHANNEL:
        return given.scale.dim() > 0 and len(several) <= 1
    return given.scale.dim() > 0
