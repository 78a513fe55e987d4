"""Bits in and out of configurations, and which bits each operation of a workload depends on."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from accelerator.workload import Workload
from analysis.cost.workload import build_workload
from quant.config import LayerConfig, QuantConfig, Rule
from quant.graph.float_graph import FloatGraph
from quant.simulation.quant_graph import Side
from quant.spec import Granularity, SpecChange

Part = tuple[str, Side]  # a layer's weight or its output
Cell = tuple[Part, int, Granularity | None]  # at these bits; weights at this granularity

DIGITS = range(2, 16)  # widths that serve as the digits of a number
FIXED = -1
"""The number of a width that nobody chooses, such as that of tokens."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """The number of the group of parts from which a width of the workload comes.

    `tensors` by name; `weights`, `activations` and `outputs` for each operation. The workload's
    own widths mean nothing.
    """

    workload: Workload
    tensors: dict[str, int]
    weights: tuple[int, ...]
    activations: tuple[int, ...]
    outputs: tuple[int, ...]


def find_wiring(graph: FloatGraph, config: QuantConfig, groups: Sequence[Iterable[Part]]) -> Wiring:
    """Find out by trial, so that `build_workload` alone knows which width goes where.

    Each group's number is written, digit by digit, into the widths of a few workloads.
    """
    trials = [build_workload("trial", graph, trial) for trial in _trials(graph, config, groups)]
    ops = list(zip(*(trial.ops for trial in trials), strict=True))
    tensors = list(zip(*(trial.tensors for trial in trials), strict=True))
    return Wiring(
        trials[0],
        {same[0].name: _number(tensor.bits for tensor in same) for same in tensors},
        tuple(_number(op.weight_bits for op in same) for same in ops),
        tuple(_number(op.activation_bits for op in same) for same in ops),
        tuple(_number(op.output_bits for op in same) for same in ops),
    )


def _number(widths: Iterable[int]) -> int:
    digits = list(widths)
    if any(bits not in DIGITS for bits in digits):
        return FIXED
    return sum((bits - DIGITS.start) * len(DIGITS) ** i for i, bits in enumerate(digits))


def _trials(
    graph: FloatGraph, config: QuantConfig, groups: Sequence[Iterable[Part]]
) -> Iterator[QuantConfig]:
    numbers = {part: number for number, group in enumerate(groups) for part in group}
    worth = 1
    while worth == 1 or worth < len(groups):
        digits = {part: DIGITS[n // worth % len(DIGITS)] for part, n in numbers.items()}
        yield with_bits(config, graph, digits)
        worth *= len(DIGITS)


def parts_of(graph: FloatGraph) -> tuple[Part, ...]:
    """Return everything that has bits, in order of execution."""
    parts: list[Part] = []
    for layer in graph.layers:
        if layer.weight is not None:
            parts.append((layer.name, Side.WEIGHTS))
        parts.append((layer.name, Side.ACTIVATIONS))
    return tuple(parts)


def bits_of(config: QuantConfig, graph: FloatGraph) -> dict[Part, int]:
    """Return the bits that a configuration gives to each part."""
    chosen = config.resolve(graph.layers)
    return {
        (name, side): (
            chosen[name].weight if side is Side.WEIGHTS else chosen[name].activation
        ).bits
        for name, side in parts_of(graph)
    }


def cells_of(config: QuantConfig, graph: FloatGraph) -> tuple[Cell, ...]:
    """Return the bits of each part, and the granularity of each weight."""
    chosen = config.resolve(graph.layers)
    return tuple(
        ((name, side), bits, chosen[name].weight.granularity if side is Side.WEIGHTS else None)
        for (name, side), bits in bits_of(config, graph).items()
    )


def with_bits(
    config: QuantConfig,
    graph: FloatGraph,
    bits: Mapping[Part, int],
    grains: Mapping[str, Granularity | None] | None = None,
) -> QuantConfig:
    """Return `config` with these bits in place of its own; parts not named keep theirs.

    `grains` are granularities of weights by layer; those that are not named or None stay.

    The most frequent widths become the default, every layer that differs gets one rule.
    """
    every = {**bits_of(config, graph), **bits}
    weights = {name: width for (name, side), width in every.items() if side is Side.WEIGHTS}
    outputs = {name: width for (name, side), width in every.items() if side is Side.ACTIVATIONS}
    usual_weight = Counter(weights.values()).most_common(1)[0][0] if weights else 8
    usual_output = Counter(outputs.values()).most_common(1)[0][0]
    default = LayerConfig(
        replace(config.default.weight, bits=usual_weight),
        replace(config.default.activation, bits=usual_output),
    )
    chosen, wanted = config.resolve(graph.layers), grains or {}
    own = [
        Rule(
            name,
            SpecChange(
                bits=_unless(weights.get(name, usual_weight), usual_weight),
                granularity=_new(wanted.get(name), chosen[name].weight.granularity),
            ),
            SpecChange(bits=_unless(outputs[name], usual_output)),
        )
        for name in outputs
    ]
    kept = (
        Rule(
            rule.select,
            replace(rule.weight, bits=None),
            replace(rule.activation, bits=None),
        )
        for rule in config.rules
    )
    rules = (rule for rule in (*kept, *own) if rule.weight.to_dict() or rule.activation.to_dict())
    return QuantConfig(default, tuple(rules))


def _unless(value: int, usual: int) -> int | None:
    return None if value == usual else value


def _new(wanted: Granularity | None, present: Granularity) -> Granularity | None:
    return None if wanted is present else wanted
