"""Costs of MACs beside the array's, which a fit gives to a machine of another structure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accelerator.machine import Machine
from accelerator.widths import Widths
from accelerator.workload import GEMM_KINDS, Op, OpKind

DENSE, SEPARABLE, LINEAR = MAC_CLASSES = ("dense", "separable", "linear")
"""Kinds of layers whose MACs differ in cost: dense convolutions, depthwise and 1x1, matrices."""


@dataclass(frozen=True, slots=True)
class MacWork:
    """Latency in s and energy in pJ of an op by its MACs, in one of the classes or none ("")."""

    mac_class: str = ""
    latency_s: float = 0.0
    energy_pj: float = 0.0


NO_WORK = MacWork()
_FREE_WORK = {name: MacWork(name) for name in MAC_CLASSES}


def class_of_macs(op: Op) -> str:
    """Return the class of an op's MACs."""
    if op.kind in (OpKind.LINEAR, OpKind.MATMUL):
        return LINEAR
    separable = op.kind is OpKind.DEPTHWISE or op.kernel_h * op.kernel_w == 1
    return SEPARABLE if separable else DENSE


def count_mac_slots(op: Op, widths: Widths) -> float:
    """Return the MACs of an op, times the passes that its widths need, over the mode's rate.

    The widths then count as they do in the machine's array.
    """
    return op.macs * widths.passes / widths.rate


def cost_of_macs(op: Op, widths: Widths, machine: Machine) -> MacWork:
    """Return the cost of an op's MACs by the machine's `mac_costs`."""
    if op.kind not in GEMM_KINDS:
        return NO_WORK
    name, costs = class_of_macs(op), machine.mac_costs
    cycles, energy = getattr(costs, f"{name}_cycles"), getattr(costs, f"{name}_pj")
    if not cycles and not energy:
        return _FREE_WORK[name]
    slots = count_mac_slots(op, widths)
    return MacWork(name, slots * cycles / machine.clock_hz, slots * energy)


def sum_by_class(pairs: Iterable[tuple[str, float]], names: Sequence[str]) -> list[float]:
    """Return the sums of values by class, in the order of `names`."""
    sums = dict.fromkeys(names, 0.0)
    for name, value in pairs:
        if name:
            sums[name] += value
    return list(sums.values())
