"""Sites of a graph: edges to quantize, and the spec of an edge (white paper, section 2.3)."""

from dataclasses import dataclass, replace
from enum import StrEnum

from quant.config import QuantConfig, Resolved
from quant.errors import ConfigError
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer
from quant.graph.operators import SOFTMAXES, Kind, is_pass_through, operator_name
from quant.spec import QuantSpec


class Side(StrEnum):
    """Weights, activations, or both (only in questions): the tensors under a quantizer."""

    WEIGHTS = "weights"
    ACTIVATIONS = "activations"
    BOTH = "both"

    def includes_role(self, side: "Side") -> bool:
        """Tell whether quantizers of a role take part."""
        return self is Side.BOTH or self is side

    @property
    def noun(self) -> str:
        """The word for a tensor of the side: weight or activation."""
        return self.value.removesuffix("s")


TENSOR_SIDES = (Side.WEIGHTS, Side.ACTIVATIONS)


def weight_site_name(layer: str) -> str:
    """Return the name of the site of a layer's weight; an output's site has the layer's name."""
    return f"{layer} weight"


@dataclass(frozen=True, slots=True)
class Site:
    """An edge of the graph with an encoding.

    `name` is unique: the layer's name, with " weight" for weights. `node` is the node whose value
    is quantized (for weights the reading operation). `shared_with` names the site whose encoding
    the site takes over. `limits` bound the values possible at the site, where the operation sets
    bounds: the encoding covers the limits whatever calibration has seen.
    """

    name: str
    layer: str
    side: Side
    spec: QuantSpec
    node: str
    shared_with: str | None = None
    limits: tuple[float, float] | None = None


def plan_sites(graph: FloatGraph, config: QuantConfig | Resolved) -> tuple[Site, ...]:
    """List the sites of a graph (white paper, section 2.3); pure.

    A site stands at the output of a layer after the fused functions, at a real input of the network
    and at a weight. Biases, and whole numbers such as tokens and masks, have no site. Max-pool,
    reshape and the like pass the encoding through; an average pool takes over the encoding of the
    input.

    Raises:
        ConfigError: a rule of `config` matches no layer.
    """
    chosen = config.resolve_layers(graph.layers) if isinstance(config, QuantConfig) else config
    by_output: dict[str, str] = {}
    sites: list[Site] = []
    for layer in graph.layers:
        wish = chosen[layer.name]
        if layer.weight is not None:
            _check_channel_widths(layer, wish.weight)
            name = weight_site_name(layer.name)
            sites.append(Site(name, layer.name, Side.WEIGHTS, wish.weight, layer.node))
        shared = (
            _find_source_site(graph, layer, by_output) if layer.kind is Kind.AVERAGE_POOL else None
        )
        sites.append(
            Site(
                layer.name,
                layer.name,
                Side.ACTIVATIONS,
                wish.activation,
                layer.output,
                shared,
                _softmax_limits(graph, layer),
            )
        )
        by_output[layer.output] = layer.name
    by_name = {site.name: site for site in sites}
    return tuple(_site_with_shared_spec(site, by_name) for site in sites)


def _check_channel_widths(layer: Layer, spec: QuantSpec) -> None:
    """Raise if the number of output channels of a weight differs from the number of widths."""
    channels = layer.weight_shape[layer.channel_axis]
    if spec.channel_bits and len(spec.channel_bits) != channels:
        raise ConfigError(
            f"Layer {layer.name!r} has {channels} output channels; got widths of "
            f"{len(spec.channel_bits)}. The configuration belongs to another network."
        )


def _softmax_limits(graph: FloatGraph, layer: Layer) -> tuple[float, float] | None:
    """Return 0 and 1 for a softmax: values beyond a smaller encoding wrap in fused kernels."""
    alone = layer.output == layer.node
    return (
        (0.0, 1.0) if alone and operator_name(graph.node_named(layer.node)) in SOFTMAXES else None
    )


def _find_source_site(graph: FloatGraph, layer: Layer, by_output: dict[str, str]) -> str | None:
    node = graph.node_named(layer.inputs[0])
    while node.name not in by_output and is_pass_through(node):
        node = node.all_input_nodes[0]
    return by_output.get(node.name)


def _site_with_shared_spec(site: Site, by_name: dict[str, Site]) -> Site:
    source = site
    while source.shared_with is not None:
        source = by_name[source.shared_with]
    return replace(site, spec=source.spec) if source is not site else site
