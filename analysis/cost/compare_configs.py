"""Two configurations of one network layer by layer: which widths changed, which energy moved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from accelerator.machine import Machine
from accelerator.report import CostReport, Energy
from analysis.cost.estimate import cost
from analysis.cost.workload import Entropies
from analysis.network import Network
from quant.assignment import Part
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Role, Side, plan
from quant.spec import FLOAT_BITS, QuantSpec


@dataclass(frozen=True, slots=True)
class Transition:
    """The layers whose bits on one side go from `before` to `after`; equal ones stay.

    `values` counts weights, or values of the output. Energies in pJ are those of the layers.
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
    """One operation in both configurations: bits of weight and output, energies, what else changed.

    Bits are None where there is no such choice. `own` says that the configuration of the layer
    itself changed; else its energy moves because of the layers around it. `also` names changes
    besides bits, such as "weight granularity".
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
        """Energy after less energy before in pJ; below 0 is saved."""
        return self.energy_after.total_pj - self.energy_before.total_pj


@dataclass(frozen=True, slots=True)
class ConfigDiff:
    """Both costs, every operation, and how many layers went from which width to which."""

    before: CostReport
    after: CostReport
    layers: tuple[LayerChange, ...]
    transitions: tuple[Transition, ...]

    @property
    def changed(self) -> tuple[LayerChange, ...]:
        """The layers whose own configuration changed."""
        return tuple(layer for layer in self.layers if layer.own)

    @property
    def moved_pj(self) -> float:
        """Energy after less energy before in pJ."""
        return self.after.energy_pj - self.before.energy_pj

    def moved_around_pj(self) -> float:
        """Return the part of the moved energy in layers whose own configuration stays."""
        return sum(layer.moved_pj for layer in self.layers if not layer.own)

    def matrix(self, side: Side) -> dict[tuple[int, int], Transition]:
        """Return the transitions of one side by (before, after)."""
        return {(t.before, t.after): t for t in self.transitions if t.side is side}


def config_diff(
    network: Network,
    before: QuantConfig,
    after: QuantConfig,
    machine: Machine,
    known: Entropies | None = None,
) -> ConfigDiff:
    """Compare two configurations of a network on a machine; runs no image.

    `known` keeps weight entropies between calls. Bits of a layer that takes over another's grid
    are those of that grid.

    Raises:
        ConfigError: a rule matches no layer.
    """
    costs = cost(network, before, machine, known), cost(network, after, machine, known)
    specs = specs_of(network.graph, before), specs_of(network.graph, after)
    return ConfigDiff(
        *costs, _layers(network, costs, specs), tuple(_transitions(network, costs, specs))
    )


def specs_of(graph: FloatGraph, config: QuantConfig) -> dict[Part, QuantSpec]:
    """Return what each weight and each output is put on; shared grids are their owner's."""
    sides = {Role.WEIGHT: Side.WEIGHTS, Role.ACTIVATION: Side.ACTIVATIONS}
    return {(site.layer, sides[site.role]): site.spec for site in plan(graph, config)}


Pair = tuple[CostReport, CostReport]
Specs = tuple[dict[Part, QuantSpec], dict[Part, QuantSpec]]


def _layers(network: Network, costs: Pair, specs: Specs) -> tuple[LayerChange, ...]:
    """Return the input, which costs nothing itself, and every operation of the workload."""
    rows = [{layer.layer: layer for layer in report.layers} for report in costs]
    first = network.graph.layers[0].name
    found = []
    for name in dict.fromkeys((first, *rows[0])):
        old, new = (row.get(name) for row in rows)
        bits = [
            spec[name, side].bits if (name, side) in spec else None
            for side in (Side.WEIGHTS, Side.ACTIVATIONS)
            for spec in specs
        ]
        also = tuple(_also(name, specs))
        found.append(
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
    return tuple(found)


def _also(layer: str, specs: Specs) -> Iterator[str]:
    """Yield what changed besides bits; nothing where a side stays or becomes float."""
    for side, word in ((Side.WEIGHTS, "weight"), (Side.ACTIVATIONS, "output")):
        old, new = (spec.get((layer, side)) for spec in specs)
        if old is None or new is None or FLOAT_BITS in (old.bits, new.bits):
            continue
        for name in ("granularity", "symmetric", "estimator", "scale"):
            if getattr(old, name) != getattr(new, name):
                yield f"{word} {'symmetry' if name == 'symmetric' else name}"


def _transitions(network: Network, costs: Pair, specs: Specs) -> Iterator[Transition]:
    energy: list[Mapping[str, float]] = [
        {layer.layer: layer.energy_pj for layer in report.layers} for report in costs
    ]
    sizes = {layer.name: _sizes(layer.weight_shape, layer.shape) for layer in network.graph.layers}
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
                *(sum(found.get(name, 0.0) for name in names) for found in energy),
            )


def _sizes(weight: tuple[int, ...], output: tuple[int, ...]) -> tuple[int, int]:
    counts = [1 if shape else 0 for shape in (weight, output)]
    for place, shape in enumerate((weight, output)):
        for length in shape:
            counts[place] *= length
    return counts[0], counts[1]


def describe_diff(diff: ConfigDiff) -> tuple[str, ...]:
    """Return sentences on what the second configuration changes, the most important first."""
    if not diff.changed:
        return ("Both configurations ask the same of every layer.",)
    sentences = [f"{_count(len(diff.changed))} of {len(diff.layers)} change."]
    for side, word in ((Side.WEIGHTS, "Weights"), (Side.ACTIVATIONS, "Outputs")):
        moves = [t for t in diff.transitions if t.side is side and t.before != t.after]
        if moves:
            told = [f"{_bits(t.before)} to {_bits(t.after)} in {_count(len(t.layers))}" for t in
                    sorted(moves, key=lambda t: -len(t.layers))]  # fmt: skip
            sentences.append(f"{word}: {', '.join(told)}.")
    sentences.append(_energy_sentence(diff))
    return tuple(sentences)


def _energy_sentence(diff: ConfigDiff) -> str:
    moved, around = diff.moved_pj, diff.moved_around_pj()
    if not diff.before.energy_pj or not moved:
        return "The energy of the whole network stays."
    share = 100 * abs(moved) / diff.before.energy_pj
    verb = "less" if moved < 0 else "more"
    said = f"The network needs {share:.1f} % {verb} energy"
    if abs(around) < 0.005 * abs(moved):
        return f"{said}, all of it in the layers that change."
    return (
        f"{said}; {100 * around / moved:.0f} % of that moves in layers that stay as they are, "
        "since what they read or where it is kept has changed."
    )


def _bits(bits: int) -> str:
    return "float" if bits == FLOAT_BITS else f"{bits} bits"


def _count(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
