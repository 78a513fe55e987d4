"""The result: costs of the layers and of the whole network on a machine."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add

from accelerator.energy import Energy
from accelerator.engines.mac_costs import NO_WORK, MacWork
from accelerator.workload import OpKind

__all__ = ["CostReport", "Energy", "LayerCost", "join_group_costs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """The cost of one op: energy in pJ, compute cycles, latency in s, traffic in bits.

    `bound` names the limit of the op: compute, dram or sram. Requested, computed and stored widths
    stand side by side and often differ; `warnings` say where and why. Weight widths belong to a
    product's second operand, 0 without a second operand. `on_host` marks an op impossible on the
    machine, with a stand-in as cost. `memory_s` is the part of the latency spent waiting for
    memory, `overhead_s` the part of the op's start, `work` the part by the machine's `mac_costs`,
    within `energy.mac_pj` and `latency_s`. `weight_room_bits` is the size of the weights;
    `weights_stay` says that inferences do not fetch the weights from DRAM.
    """

    layer: str
    kind: OpKind
    macs: int
    energy: Energy
    cycles: int
    latency_s: float
    bound: str
    dram_weight_bits: int
    dram_input_bits: int
    dram_output_bits: int
    sram_bits: int
    requested_weight_bits: int
    requested_activation_bits: int
    compute_weight_bits: int
    compute_activation_bits: int
    stored_weight_bits: float
    stored_activation_bits: int
    passes: int
    utilization: float
    on_host: bool
    warnings: tuple[str, ...]
    memory_s: float = 0.0
    overhead_s: float = 0.0
    work: MacWork = NO_WORK
    weight_room_bits: int = 0
    weights_stay: bool = False

    @property
    def energy_pj(self) -> float:
        """Energy of the parts in pJ."""
        return self.energy.total_pj

    @property
    def dram_bits(self) -> int:
        """Bits read from and written to DRAM."""
        return self.dram_weight_bits + self.dram_input_bits + self.dram_output_bits

    @property
    def intensity_macs_per_byte(self) -> float:
        """MACs per byte of DRAM traffic; infinite without DRAM traffic."""
        return 8 * self.macs / self.dram_bits if self.dram_bits else math.inf


Bounds = tuple[float, float]
"""The lower and the upper end of an interval."""


def join_group_costs(widths: Sequence[int], costs: Sequence[LayerCost], stored: float) -> LayerCost:
    """Return the cost of an op from the costs of channel groups, in sequence.

    `widths` are the bits of the groups, `stored` the mean bits of a weight in memory. Requested and
    computed widths are the widest; a sentence names each group.
    """
    slowest = max(costs, key=lambda cost: cost.latency_s)
    summed = (
        "macs",
        "cycles",
        "latency_s",
        "dram_weight_bits",
        "dram_input_bits",
        "dram_output_bits",
        "sram_bits",
        "memory_s",
        "overhead_s",
        "weight_room_bits",
    )
    totals = {name: sum(getattr(cost, name) for cost in costs) for name in summed}
    busy = sum(cost.utilization * cost.cycles for cost in costs)
    groups = ", ".join(
        f"{bits} bit as {cost.compute_weight_bits}"
        + (f" in {cost.passes} passes" if cost.passes > 1 else "")
        for bits, cost in zip(widths, costs, strict=True)
    )
    held = [warning for cost in costs for warning in cost.warnings if warning.startswith("host")]
    return replace(
        slowest,
        **totals,
        work=replace(
            slowest.work,
            latency_s=sum(cost.work.latency_s for cost in costs),
            energy_pj=sum(cost.work.energy_pj for cost in costs),
        ),
        energy=reduce(add, (cost.energy for cost in costs)),
        requested_weight_bits=max(widths),
        compute_weight_bits=max(cost.compute_weight_bits for cost in costs),
        stored_weight_bits=stored,
        passes=max(cost.passes for cost in costs),
        utilization=busy / totals["cycles"] if totals["cycles"] else 0.0,
        on_host=any(cost.on_host for cost in costs),
        warnings=(
            f"channels of several widths, computed group by group: {groups}",
            *dict.fromkeys(held),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """The cost of one inference: energy in pJ, latency in s, memory in bytes, roofline limits.

    `peak_activation_step` is the op with the most live activation memory, and `peak_tensors` are
    the live tensors, largest first. `bops` sum MACs times both requested widths. `energy_pj_ci` and
    `latency_s_ci` are the 90 % prediction intervals of a machine fitted to measurements; None for a
    machine without measurements. `trust` says how far the machine's energies are from chips. `noun`
    is the word for what one inference takes.
    """

    machine: str
    workload: str
    layers: tuple[LayerCost, ...]
    energy: Energy
    latency_s: float
    cycles: int
    macs: int
    bops: int
    weight_bytes: int
    peak_activation_bytes: int
    peak_activation_step: str
    peak_tensors: tuple[str, ...]
    peak_macs_per_s: float
    ridge_macs_per_byte: float
    illustrative: bool
    notes: tuple[str, ...]
    energy_pj_ci: Bounds | None = None
    latency_s_ci: Bounds | None = None
    trust: str = ""
    noun: str = "image"

    @property
    def energy_pj(self) -> float:
        """Energy of the layers in pJ."""
        return self.energy.total_pj

    @property
    def dram_bits(self) -> int:
        """Bits read from and written to DRAM by the layers."""
        return sum(layer.dram_bits for layer in self.layers)

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON; an infinite intensity becomes None."""
        plain = asdict(self)
        plain["energy_pj"] = self.energy_pj
        plain["dram_bits"] = self.dram_bits
        plain["layers"] = [_layer_to_dict(layer) for layer in self.layers]
        return plain


def _layer_to_dict(layer: LayerCost) -> dict[str, object]:
    intensity = layer.intensity_macs_per_byte
    return asdict(layer) | {
        "kind": layer.kind.value,
        "energy_pj": layer.energy_pj,
        "dram_bits": layer.dram_bits,
        "intensity_macs_per_byte": intensity if math.isfinite(intensity) else None,
    }
