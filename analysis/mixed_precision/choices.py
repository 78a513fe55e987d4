"""The free choices: bits of each weight, and common bits of connected activations."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from analysis.mixed_precision.dependencies import FIXED, find_width_origins
from quant.assignment import Knob, Part, parts_of_graph
from quant.config import QuantConfig, Rule
from quant.errors import ConfigError
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import is_input_name
from quant.graph.operators import Kind
from quant.simulation.plan import Side, plan_sites
from quant.spec import FLOAT_BITS, Granularity

TIED_KINDS = (Kind.ADD, Kind.CONCAT)


class Together(StrEnum):
    """The layers that share one choice: none, layers of one kind, or the whole network."""

    LAYER = "layer"
    KIND = "kind"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Pin:
    """Fixed bits of the layers that `select` matches, as in a configuration's rule."""

    select: str
    weight_bits: int | None = None
    activation_bits: int | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for a choice of bits.

    `bits` are the allowed widths. `pins` fix bits; a later pin overrides an earlier pin.
    `edge_bits` pins the weights of the first and the last layer with weights, the network's input
    and the last layer's output. `granularities` are the allowed granularities of weights, None for
    the granularity of the configuration. `activation_bits` replaces `bits` for activations.
    """

    bits: tuple[int, ...]
    pins: tuple[Pin, ...] = ()
    edge_bits: int | None = None
    together: Together = Together.LAYER
    granularities: tuple[Granularity, ...] | None = None
    activation_bits: tuple[int, ...] | None = None

    def offered_bits(self, side: Side) -> tuple[int, ...]:
        """Return the allowed widths of one side, widest first.

        Example:
            >>> Rules(bits=(4, 8)).offered_bits(Side.WEIGHTS)
            (8, 4)
        """
        activations = side is Side.ACTIVATIONS and self.activation_bits
        return tuple(sorted(set(activations or self.bits), reverse=True))


def find_free_knobs(graph: FloatGraph, config: QuantConfig, rules: Rules) -> tuple[Knob, ...]:
    """Return the free choices in order of execution.

    The operands of an add or concat share one choice; so do sites with one encoding (pools) and
    layers with one weight.

    Raises:
        ConfigError: a pin matches no layer, pins of a shared choice contradict, or no granularity
            is left.
    """
    if rules.granularities == ():
        raise ConfigError("Weights need a granularity to choose from; got none. Allow one.")
    own = _own_granularities(graph, config)
    pinned = _pinned_bits(graph, rules)
    knobs = []
    for parts in _group_parts(graph, config, rules.together):
        fixed = {pinned[part] for part in parts if part in pinned}
        if len(fixed) > 1:
            names = ", ".join(name for name, _ in parts)
            raise ConfigError(
                f"Layers that share their bits must be pinned alike; got {sorted(fixed)} for "
                f"{names}. Pin one of them."
            )
        knobs.append(
            _build_knob_options(parts, tuple(fixed) or rules.offered_bits(parts[0][1]), own, rules)
        )
    return tuple(knobs)


def _own_granularities(graph: FloatGraph, config: QuantConfig) -> dict[Part, Granularity]:
    """Return the configured granularity of each weight."""
    chosen = config.resolve_layers(graph.layers)
    weighted = (layer.name for layer in graph.layers if layer.weight is not None)
    return {(name, Side.WEIGHTS): chosen[name].weight.granularity for name in weighted}


def _build_knob_options(
    parts: tuple[Part, ...], bits: tuple[int, ...], own: dict[Part, Granularity], rules: Rules
) -> Knob:
    """Return a knob with an option for each width and, for weights, each allowed granularity."""
    weights = any(part in own for part in parts)
    allowed = rules.granularities if weights and rules.granularities is not None else (None,)
    options = [(width, grain) for width in bits for grain in _useful_granularities(allowed, width)]
    grains = tuple(
        tuple(own[part] if grain is None and part in own else grain for part in parts)
        for _, grain in options
    )
    return Knob(parts, tuple(width for width, _ in options), grains)


def _useful_granularities(
    allowed: tuple[Granularity | None, ...], bits: int
) -> tuple[Granularity | None, ...]:
    """Return the granularities that matter at a width: a float weight has only one."""
    return allowed[:1] if bits == FLOAT_BITS else allowed


def _pinned_bits(graph: FloatGraph, rules: Rules) -> dict[Part, int]:
    """Return the pinned bits by part."""
    pins = rules.pins
    if rules.edge_bits is not None:
        edge = rules.edge_bits
        inputs = [layer.name for layer in graph.layers if is_input_name(layer.name)]
        edges = (Pin("first", edge), Pin("last", edge, edge))
        pins = (*edges, *(Pin(name, None, edge) for name in inputs), *pins)
    bits: dict[Part, int] = {}
    for pin in pins:
        names = Rule(pin.select).matched_layers(graph.layers)
        if not names:
            raise ConfigError(
                f"A pin must match a layer; {pin.select!r} matches none of {len(graph.layers)}. "
                "Correct the name."
            )
        for name in names:
            if pin.weight_bits is not None:
                bits[name, Side.WEIGHTS] = pin.weight_bits
            if pin.activation_bits is not None:
                bits[name, Side.ACTIVATIONS] = pin.activation_bits
    return bits


def _group_parts(
    graph: FloatGraph, config: QuantConfig, together: Together
) -> Iterator[tuple[Part, ...]]:
    parts = parts_of_graph(graph)
    leader = {part: part for part in parts}

    def head(part: Part) -> Part:
        while leader[part] != part:
            part = leader[part]
        return part

    for one, other in _tied_pairs(graph, config, together):
        first, second = sorted((head(one), head(other)), key=parts.index)
        leader[second] = first
    groups: dict[Part, list[Part]] = {}
    for part in parts:
        groups.setdefault(head(part), []).append(part)
    return (tuple(group) for group in groups.values())


def _tied_pairs(
    graph: FloatGraph, config: QuantConfig, together: Together
) -> Iterator[tuple[Part, Part]]:
    for site in plan_sites(graph, config):
        if site.side is Side.ACTIVATIONS and site.shared_with is not None:
            yield (site.layer, Side.ACTIVATIONS), (site.shared_with, Side.ACTIVATIONS)
    kinds = {layer.name: layer.kind for layer in graph.layers}
    parts = parts_of_graph(graph)
    wiring = find_width_origins(graph, config, [(part,) for part in parts])
    for op in wiring.workload.ops:
        if kinds.get(op.name) in TIED_KINDS:
            numbers = (wiring.tensors[name] for name in op.inputs)
            first, *others = (parts[number] for number in numbers if number != FIXED)
            yield from ((first, other) for other in others)
    seen: dict[str, Part] = {}
    for layer in graph.layers:
        if layer.weight is not None:
            part = (layer.name, Side.WEIGHTS)
            yield part, seen.setdefault(layer.weight, part)
    alike: dict[tuple[str, Side], Part] = {}
    for name, side in parts if together is not Together.LAYER else ():
        key = str(kinds[name]) if together is Together.KIND else ""
        yield (name, side), alike.setdefault((key, side), (name, side))
