"""Two configurations compared layer by layer: changes of bits, energy and latency."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from accelerator.machine import Machine
from accelerator.report import CostReport, Energy
from analysis.cost.estimate import estimate_config_cost
from analysis.cost.workload import Entropies
from analysis.network import Network
from quant.assignment import Part
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Side, plan_sites
from quant.spec import FLOAT_BITS, QuantSpec


@dataclass(frozen=True, slots=True)
class Transition:
    """The layers whose bits on one side change from `before` to `after`, possibly equal.

    `values` counts the weights, or the output values, of the layers. Energies are in pJ.
    """

    side: Side
    before: int
    after: int
    layers: tuple[str, ...]
    values: int
    energy_before_pj: float
    energy_after_pj: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChange:
    """One operation in both configurations: bits of weight and output, energies, other changes.

    Bits are None for a layer without weight or output encoding. `own` is True if the layer's own
    configuration changed; otherwise the energy moves because of neighbouring layers. `also` names
    changes besides bits, such as "weight granularity".
    """

    layer: str
    weight_bits_before: int | None
    weight_bits_after: int | None
    output_bits_before: int | None
    output_bits_after: int | None
    energy_before: Energy
    energy_after: Energy
    latency_before_s: float
    latency_after_s: float
    dram_bits_before: int
    dram_bits_after: int
    own: bool
    also: tuple[str, ...] = ()

    @property
    def moved_pj(self) -> float:
        """Energy after minus energy before in pJ; negative where the change saves energy."""
        return self.energy_after.total_pj - self.energy_before.total_pj


@dataclass(frozen=True, slots=True)
class ConfigDiff:
    """The costs of both configurations, the operations, and the layers by change of bits."""

    before: CostReport
    after: CostReport
    layers: tuple[LayerChange, ...]
    transitions: tuple[Transition, ...]

    @property
    def changed_layers(self) -> tuple[LayerChange, ...]:
        """The layers with a change of their own configuration."""
        return tuple(layer for layer in self.layers if layer.own)

    @property
    def moved_pj(self) -> float:
        """Energy after minus energy before in pJ."""
        return self.after.energy_pj - self.before.energy_pj

    def moved_around_pj(self) -> float:
        """Return the moved energy, in pJ, of layers without a change of their own configuration."""
        return sum(layer.moved_pj for layer in self.layers if not layer.own)

    def transition_matrix(self, side: Side) -> dict[tuple[int, int], Transition]:
        """Return the transitions of one side by (before, after)."""
        return {(t.before, t.after): t for t in self.transitions if t.side is side}


def diff_configs(
    network: Network,
    before: QuantConfig,
    after: QuantConfig,
    machine: Machine,
    known: Entropies | None = None,
) -> ConfigDiff:
    """Compare two configurations of a network on a machine; runs no image.

    `known` caches weight entropies between calls. Layers with a shared encoding have the bits of
    the shared encoding.

    Raises:
        ConfigError: a rule matches no layer.
    """
    costs = (
        estimate_config_cost(network, before, machine, known),
        estimate_config_cost(network, after, machine, known),
    )
    specs = specs_by_part(network.graph, before), specs_by_part(network.graph, after)
    return ConfigDiff(
        *costs,
        _layer_changes(network, costs, specs),
        tuple(_bit_transitions(network, costs, specs)),
    )


def specs_by_part(graph: FloatGraph, config: QuantConfig) -> dict[Part, QuantSpec]:
    """Return the spec of each weight and each output; a shared encoding has the owner's spec."""
    return {(site.layer, site.side): site.spec for site in plan_sites(graph, config)}


Pair = tuple[CostReport, CostReport]
Specs = tuple[dict[Part, QuantSpec], dict[Part, QuantSpec]]


def _layer_changes(network: Network, costs: Pair, specs: Specs) -> tuple[LayerChange, ...]:
    """Return the changes of the input, which costs nothing, and of every operation."""
    rows = [{layer.layer: layer for layer in report.layers} for report in costs]
    first = network.graph.layers[0].name
    changes = []
    for name in dict.fromkeys((first, *rows[0])):
        old, new = (row.get(name) for row in rows)
        bits = [
            spec[name, side].bits if (name, side) in spec else None
            for side in (Side.WEIGHTS, Side.ACTIVATIONS)
            for spec in specs
        ]
        also = tuple(_other_changes(name, specs))
        changes.append(
            LayerChange(
                layer=name,
                weight_bits_before=bits[0],
                weight_bits_after=bits[1],
                output_bits_before=bits[2],
                output_bits_after=bits[3],
                energy_before=old.energy if old else Energy(),
                energy_after=new.energy if new else Energy(),
                latency_before_s=old.latency_s if old else 0.0,
                latency_after_s=new.latency_s if new else 0.0,
                dram_bits_before=old.dram_bits if old else 0,
                dram_bits_after=new.dram_bits if new else 0,
                own=bits[0] != bits[1] or bits[2] != bits[3] or bool(also),
                also=also,
            )
        )
    return tuple(changes)


def _other_changes(layer: str, specs: Specs) -> Iterator[str]:
    """Yield the names of changes besides bits; nothing for a side that is float before or after."""
    for side, word in ((Side.WEIGHTS, "weight"), (Side.ACTIVATIONS, "output")):
        old, new = (spec.get((layer, side)) for spec in specs)
        if old is None or new is None or FLOAT_BITS in (old.bits, new.bits):
            continue
        for name in ("granularity", "symmetric", "estimator", "scale"):
            if getattr(old, name) != getattr(new, name):
                yield f"{word} {'symmetry' if name == 'symmetric' else name}"


def _bit_transitions(network: Network, costs: Pair, specs: Specs) -> Iterator[Transition]:
    energy: list[Mapping[str, float]] = [
        {layer.layer: layer.energy_pj for layer in report.layers} for report in costs
    ]
    sizes = {
        layer.name: _element_counts(layer.weight_shape, layer.shape)
        for layer in network.graph.layers
    }
    for side in (Side.WEIGHTS, Side.ACTIVATIONS):
        groups: dict[tuple[int, int], list[str]] = {}
        for part, spec in specs[0].items():
            if part[1] is side:
                groups.setdefault((spec.bits, specs[1][part].bits), []).append(part[0])
        for (old, new), names in sorted(groups.items()):
            yield Transition(
                side,
                old,
                new,
                tuple(names),
                sum(sizes[name][side is Side.ACTIVATIONS] for name in names),
                *(sum(energies.get(name, 0.0) for name in names) for energies in energy),
            )


def _element_counts(weight: tuple[int, ...], output: tuple[int, ...]) -> tuple[int, int]:
    counts = [1 if shape else 0 for shape in (weight, output)]
    for place, shape in enumerate((weight, output)):
        for length in shape:
            counts[place] *= length
    return counts[0], counts[1]


def describe_diff(diff: ConfigDiff) -> tuple[str, ...]:
    """Return sentences about the changes from the first to the second configuration.

    The most important sentence comes first.
    """
    if not diff.changed_layers:
        return ("Both configurations are the same for every layer.",)
    sentences = [f"{_format_count(len(diff.changed_layers))} of {len(diff.layers)} change."]
    for side, word in ((Side.WEIGHTS, "Weights"), (Side.ACTIVATIONS, "Outputs")):
        moves = [t for t in diff.transitions if t.side is side and t.before != t.after]
        if moves:
            largest_first = sorted(moves, key=lambda t: -len(t.layers))
            sentences.append(f"{word}: {', '.join(map(_format_transition, largest_first))}.")
    sentences.append(_energy_sentence(diff))
    return tuple(sentences)


def _energy_sentence(diff: ConfigDiff) -> str:
    moved, around = diff.moved_pj, diff.moved_around_pj()
    if not diff.before.energy_pj or not moved:
        return "The energy of the whole network stays the same."
    share = 100 * abs(moved) / diff.before.energy_pj
    verb = "less" if moved < 0 else "more"
    sentence = f"The network needs {share:.1f} % {verb} energy"
    if abs(around) < 0.005 * abs(moved):
        return f"{sentence}, all in the layers that change."
    return (
        f"{sentence}; {100 * around / moved:.0f} % of the change falls on layers that stay the "
        "same, because the bits of an input or the place of storage changed."
    )


def _format_transition(move: Transition) -> str:
    layers = _format_count(len(move.layers))
    return f"{_format_bits(move.before)} to {_format_bits(move.after)} in {layers}"


def _format_bits(bits: int) -> str:
    return "float" if bits == FLOAT_BITS else f"{bits} bits"


def _format_count(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
