"""Bits in and out of configurations, and which bits each operation of a workload depends on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from accelerator.workload import Workload
from analysis.cost.workload import build_workload
from quant.assignment import Part, with_bits
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph

DIGITS = range(2, 16)  # widths that serve as the digits of a number
FIXED = -1
"""The number of a width that nobody chooses, such as that of tokens."""


@dataclass(frozen=True, slots=True)
class WidthOrigins:
    """The number of the group of parts from which a width of the workload comes.

    `tensors` by name; `weights`, `activations` and `outputs` for each operation. The workload's
    own widths mean nothing.
    """

    workload: Workload
    tensors: dict[str, int]
    weights: tuple[int, ...]
    activations: tuple[int, ...]
    outputs: tuple[int, ...]


def find_wiring(
    graph: FloatGraph, config: QuantConfig, groups: Sequence[Iterable[Part]]
) -> WidthOrigins:
    """Find out by trial, so that `build_workload` alone knows which width goes where.

    Each group's number is written, digit by digit, into the widths of a few workloads.
    """
    trials = [build_workload("trial", graph, trial) for trial in _trials(graph, config, groups)]
    ops = list(zip(*(trial.ops for trial in trials), strict=True))
    tensors = list(zip(*(trial.tensors for trial in trials), strict=True))
    return WidthOrigins(
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
