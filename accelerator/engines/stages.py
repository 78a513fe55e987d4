"""The latency of an op: stages that overlap."""

from dataclasses import dataclass

from accelerator.dram.traffic import DramTraffic
from accelerator.machine import Machine


@dataclass(frozen=True, slots=True)
class Stages:
    """The latency of one op in s, by stage, and the limiting stage."""

    compute_s: float
    memory_s: float
    bound: str


def find_stages(cycles: int, traffic: DramTraffic, sram_bits: int, machine: Machine) -> Stages:
    """Let compute, DRAM and SRAM overlap tile by tile: the longest, and a share of the next.

    The share is one tile's, exact for two equal stages of a double-buffered pipeline. The weight
    memory works beside the buffers: the slower of the two is the stage `sram`.
    """
    scale = machine.scales.memory_time / machine.clock_hz
    held = machine.weight_memory
    stages = {
        "compute": cycles / machine.clock_hz,
        "dram": traffic.all_dram_bits / machine.dram.bits_per_cycle * scale,
        "sram": scale
        * max(
            _cycles_for_bits(sram_bits, machine.sram.bits_per_cycle),
            _cycles_for_bits(traffic.weight_memory_bits, held.bits_per_cycle if held else None),
        ),
    }
    order = sorted(stages, key=stages.__getitem__, reverse=True)  # equal stages stay in order
    serial = machine.pipeline_tiles == 1
    tiles = 1 if serial else max(machine.pipeline_tiles, traffic.tiles)
    parts = {order[0]: stages[order[0]], order[1]: stages[order[1]] / tiles}
    compute_s = parts.pop("compute", 0.0)
    return Stages(compute_s, sum(parts.values()), order[0])


def _cycles_for_bits(bits: int, bits_per_cycle: float | None) -> float:
    return bits / bits_per_cycle if bits_per_cycle else 0.0
