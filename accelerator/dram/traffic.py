"""Bits that cross between DRAM and the buffers."""

import math
from dataclasses import dataclass

from accelerator.machine import Machine
from accelerator.parts import Buffers
from accelerator.widths import Widths
from accelerator.workload import Gemm, Op


@dataclass(frozen=True, slots=True)
class Crossing:
    """The operands of an op that cross the DRAM border; the others stay on chip."""

    weights: bool = True
    inputs: bool = True
    outputs: bool = True


@dataclass(frozen=True, slots=True)
class DramTraffic:
    """Bits read and written at the DRAM, partial sums spilled on chip, and tiles streamed.

    `weight_memory_bits` are the weights from an on-chip weight memory instead.
    """

    weight_bits: int
    input_bits: int
    output_bits: int
    partial_bits: int
    tiles: int
    weight_memory_bits: int = 0

    @property
    def all_dram_bits(self) -> int:
        """Bits across the DRAM border in sum."""
        return self.weight_bits + self.input_bits + self.output_bits


def count_dram_traffic(
    op: Op, machine: Machine, widths: Widths, crossing: Crossing, outputs: int
) -> DramTraffic:
    """Return DRAM bits of one matrix product, every operand fetched whole or re-streamed.

    The cheaper of weights outer or inputs outer (rule of NVIDIA's NVDLA performance sheet,
    column AO). An output-channel tile too large for the weight buffer splits the depth.
    """
    gemm = op.lower_to_gemm()
    weight_bits = gemm.depth * gemm.columns * gemm.groups * widths.stored_weight
    input_bits = float(op.count_input_elements * widths.stored_input)
    output_bits = outputs * widths.stored_output
    weight_room, input_room = _tile_rooms(op, machine, widths, weight_bits, input_bits)
    weight_tiles = max(1, math.ceil(weight_bits / weight_room))
    input_tiles = max(1, math.ceil(input_bits / input_room))
    weight_cost, input_cost = weight_bits * crossing.weights, input_bits * crossing.inputs
    fetched = weight_bits
    if min(weight_tiles, input_tiles) > 1 and gemm.groups == 1:
        inputs_again = (weight_cost, weight_tiles * input_cost)
        halo = 1 + _halo_share(op) * (input_tiles - 1)
        weights_again = (input_tiles * weight_cost, input_cost * halo)
        if sum(weights_again) < sum(inputs_again):
            weight_cost, input_cost = weights_again
            fetched = input_tiles * weight_bits
        else:
            weight_cost, input_cost = inputs_again
    partial = _partial_sum_bits(gemm, machine, widths, outputs)
    # The depth is split within one tile of output channels, so only its sums are alive at once.
    alive = gemm.rows * min(gemm.columns, machine.array.columns) * widths.accumulator
    on_chip = alive <= 8 * machine.buffers.output_bytes
    output_cost = output_bits * crossing.outputs + (0 if on_chip else partial)
    return DramTraffic(
        round(weight_cost),
        round(input_cost),
        round(output_cost),
        partial if on_chip else 0,
        max(weight_tiles, input_tiles),
        0 if crossing.weights or machine.weight_memory is None else round(fetched),
    )


def fits_input_buffer(op: Op, machine: Machine, widths: Widths) -> bool:
    """Return whether the whole input of an op stays in the buffer during repeated use."""
    room = 8 * machine.buffers.input_bytes * (0.5 if machine.buffers.double_buffer else 1.0)
    return op.count_input_elements * widths.stored_input <= room


def _halo_share(op: Op) -> float:
    """Part of the input read by two neighbouring stripes."""
    return max(0, (op.kernel_h - 1) * op.dilation_h + 1 - op.stride_h) / op.in_h


def _tile_rooms(
    op: Op, machine: Machine, widths: Widths, weight_bits: float, input_bits: float
) -> tuple[float, float]:
    """Bits for a tile of weights and for a tile of inputs."""
    buffers = machine.buffers
    half = 0.5 if buffers.double_buffer else 1.0
    if not buffers.unified:
        return 8 * buffers.weight_bytes * half, 8 * buffers.input_bytes * half
    store = 8 * buffers.weight_bytes * half
    gemm = op.lower_to_gemm()
    stripe = op.kernel_h * op.in_w * op.c_in * widths.stored_input
    tile = gemm.depth * min(gemm.columns, machine.array.columns) * widths.stored_weight
    # An eighth always stays for the other operand, else nothing could be streamed: our choice.
    weight_room = max(store - min(input_bits, stripe), store / 8)
    return weight_room, max(store - min(weight_bits, tile), store / 8)


def _partial_sum_bits(gemm: Gemm, machine: Machine, widths: Widths, outputs: int) -> int:
    """Bits of partial sums written and read again if a tile of weights lacks room."""
    buffers: Buffers = machine.buffers
    room = 8 * buffers.weight_bytes / (2 if buffers.double_buffer else 1)
    tile = gemm.depth * min(gemm.columns, machine.array.columns) * widths.stored_weight
    splits = max(1, math.ceil(tile / room))
    return 2 * outputs * widths.accumulator * (splits - 1)
