"""Put given encodings in place of calibrated encodings."""

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
class EncodingsUsed:
    """The sites with a given encoding, and the sites left calibrated, with the reason."""

    used: tuple[str, ...]
    kept: dict[str, str]


@dataclass(frozen=True, eq=False, slots=True)
class UseEncodings:
    """Use encodings from elsewhere, such as a file, in place of calibrated encodings.

    The calibrated encoding stays if the configuration asks for another width or granularity than
    the given encoding has, as after an edit of the layer. `encodings` holds encodings by site;
    `source` is a name of the origin.
    """

    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    source: str = "a file"

    def __call__(
        self, graph: FloatGraph, quantized: QuantGraph, batches: Iterable[Inputs] = ()
    ) -> Steps[EncodingsUsed]:
        """Set the encodings of `quantized` in place; a site with a shared encoding follows."""
        del graph, batches
        yield Progress(0.0, f"Using the encodings of {self.source}")
        return self.apply_at_once(quantized)

    def apply_at_once(self, quantized: QuantGraph) -> EncodingsUsed:
        """Set the encodings at once, without progress."""
        used, kept = [], {}
        for site in quantized.sites:
            given = self.encodings.get(site.name)
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
        return EncodingsUsed(tuple(used), kept)


def encoding_misfit(given: Encoding, site: Site) -> str:
    """Return why an encoding differs from the site's spec; empty if the encoding fits."""
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
    """Return the widths of channels; empty if the widths are equal."""
    bits = given.channel_bits
    return () if bits is None or bits.dim() == 0 else tuple(bits.flatten().tolist())


def _has_same_granularity(given: Encoding, spec: QuantSpec) -> bool:
    several = [size for size in given.scale.shape if size > 1]
    if spec.granularity is Granularity.PER_TENSOR:
        return given.scale.dim() == 0
    if spec.granularity is Granularity.PER_CHANNEL:
        return given.scale.dim() > 0 and len(several) <= 1
    return given.scale.dim() > 0
