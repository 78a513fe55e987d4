"""The choice of bits behind each width of a workload."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from accelerator.workload import Workload
from analysis.cost.workload import build_workload
from quant.assignment import Part, config_with_bits
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph

DIGITS = range(2, 16)  # widths that serve as the digits of a number
FIXED = -1
"""The number of a width without a choice, such as the width of tokens."""


@dataclass(frozen=True, slots=True)
class WidthOrigins:
    """The group of parts that determines a width, as a number, for each width of a workload.

    `tensors` is by name; `weights`, `activations` and `outputs` hold a number per operation. The
    widths inside `workload` are trial values without meaning.
    """

    workload: Workload
    tensors: dict[str, int]
    weights: tuple[int, ...]
    activations: tuple[int, ...]
    outputs: tuple[int, ...]


def find_width_origins(
    graph: FloatGraph, config: QuantConfig, groups: Sequence[Iterable[Part]]
) -> WidthOrigins:
    """Find the origins of the widths by trial: only `build_workload` knows the rules.

    A few workloads carry the groups' numbers, digit by digit, in the widths.
    """
    trials = [
        build_workload("trial", graph, trial) for trial in _trial_configs(graph, config, groups)
    ]
    ops = list(zip(*(trial.ops for trial in trials), strict=True))
    tensors = list(zip(*(trial.tensors for trial in trials), strict=True))
    return WidthOrigins(
        trials[0],
        {same[0].name: _group_number(tensor.bits for tensor in same) for same in tensors},
        tuple(_group_number(op.weight_bits for op in same) for same in ops),
        tuple(_group_number(op.activation_bits for op in same) for same in ops),
        tuple(_group_number(op.output_bits for op in same) for same in ops),
    )


def _group_number(widths: Iterable[int]) -> int:
    digits = list(widths)
    if any(bits not in DIGITS for bits in digits):
        return FIXED
    return sum((bits - DIGITS.start) * len(DIGITS) ** i for i, bits in enumerate(digits))


def _trial_configs(
    graph: FloatGraph, config: QuantConfig, groups: Sequence[Iterable[Part]]
) -> Iterator[QuantConfig]:
    numbers = {part: number for number, group in enumerate(groups) for part in group}
    worth = 1
    while worth == 1 or worth < len(groups):
        digits = {part: DIGITS[n // worth % len(DIGITS)] for part, n in numbers.items()}
        yield config_with_bits(config, graph, digits)
        worth *= len(DIGITS)
