"""Bits and granularity of weights and activations in a configuration."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from quant.config import LayerConfig, QuantConfig, Rule
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Side
from quant.spec import Granularity, QuantSpec, SpecChange

Part = tuple[str, Side]  # a layer's weight or its output
Cell = tuple[Part, int, Granularity | None]  # at these bits; weights at this granularity


def parts_of_graph(graph: FloatGraph) -> tuple[Part, ...]:
    """Return the weights and activations with bits, in order of execution."""
    parts: list[Part] = []
    for layer in graph.layers:
        if layer.weight is not None:
            parts.append((layer.name, Side.WEIGHTS))
        parts.append((layer.name, Side.ACTIVATIONS))
    return tuple(parts)


def bits_by_part(config: QuantConfig, graph: FloatGraph) -> dict[Part, int]:
    """Return the bits of each part under a configuration."""
    chosen = config.resolve_layers(graph.layers)
    return {
        (name, side): (
            chosen[name].weight if side is Side.WEIGHTS else chosen[name].activation
        ).bits
        for name, side in parts_of_graph(graph)
    }


def cells_of_config(config: QuantConfig, graph: FloatGraph) -> tuple[Cell, ...]:
    """Return the bits of each part, and the granularity of each weight."""
    chosen = config.resolve_layers(graph.layers)
    return tuple(
        ((name, side), bits, chosen[name].weight.granularity if side is Side.WEIGHTS else None)
        for (name, side), bits in bits_by_part(config, graph).items()
    )


def config_with_bits(
    config: QuantConfig,
    graph: FloatGraph,
    bits: Mapping[Part, int],
    grains: Mapping[str, Granularity | None] | None = None,
) -> QuantConfig:
    """Return `config` with new bits for the named parts; other parts keep their bits.

    `grains` are granularities of weights by layer; layers without a granularity stay.

    The most frequent widths become the default; a layer with other widths gets a rule.
    """
    every = {**bits_by_part(config, graph), **bits}
    weights = {name: width for (name, side), width in every.items() if side is Side.WEIGHTS}
    outputs = {name: width for (name, side), width in every.items() if side is Side.ACTIVATIONS}
    usual_weight = Counter(weights.values()).most_common(1)[0][0] if weights else 8
    usual_output = Counter(outputs.values()).most_common(1)[0][0]
    default = LayerConfig(
        replace(config.default.weight, bits=usual_weight),
        replace(config.default.activation, bits=usual_output),
    )
    chosen, wanted = config.resolve_layers(graph.layers), grains or {}
    own = [
        Rule(
            name,
            replace(
                _width_change(chosen[name].weight, bits.get((name, Side.WEIGHTS)), usual_weight)
                if name in weights
                else SpecChange(),
                granularity=_granularity_change(wanted.get(name), chosen[name].weight.granularity),
            ),
            SpecChange(bits=_bits_unless_usual(outputs[name], usual_output)),
        )
        for name in outputs
    ]
    kept = (
        Rule(
            rule.select,
            replace(rule.weight, bits=None, channel_bits=None),
            replace(rule.activation, bits=None),
        )
        for rule in config.rules
    )
    rules = (rule for rule in (*kept, *own) if rule.weight.to_dict() or rule.activation.to_dict())
    return QuantConfig(default, tuple(rules))


def config_at_granularity(config: QuantConfig, granularity: Granularity) -> QuantConfig:
    """Return the configuration with the weights at one granularity."""
    default = replace(config.default.weight, granularity=granularity)
    changed = (
        replace(rule, weight=replace(rule.weight, granularity=None)) for rule in config.rules
    )
    rules = tuple(r for r in changed if r.weight.to_dict() or r.activation.to_dict())
    return QuantConfig(replace(config.default, weight=default), rules)


def _width_change(spec: QuantSpec, bits: int | None, usual: int) -> SpecChange:
    """Return the change of a weight's width to `bits`; None stands for the usual width."""
    if bits is None and spec.channel_bits:
        return SpecChange(channel_bits=spec.channel_bits)
    return SpecChange(bits=_bits_unless_usual(spec.bits if bits is None else bits, usual))


def _bits_unless_usual(value: int, usual: int) -> int | None:
    return None if value == usual else value


def _granularity_change(wanted: Granularity | None, present: Granularity) -> Granularity | None:
    return None if wanted is present else wanted


@dataclass(frozen=True, slots=True)
class Knob:
    """One choice: `parts` with equal bits, and the options to choose from, widest first.

    `bits` of each option, and the granularity of each part in the option, None for activations.
    """

    parts: tuple[Part, ...]
    bits: tuple[int, ...]
    grains: tuple[tuple[Granularity | None, ...], ...]

    def cells_at_option(self, option: int) -> tuple[Cell, ...]:
        """Return the cell of each part at an option."""
        pairs = zip(self.parts, self.grains[option], strict=True)
        return tuple((part, self.bits[option], grain) for part, grain in pairs)

    @property
    def side(self) -> Side:
        """Whether the knob is about weights or about activations."""
        return self.parts[0][1]
