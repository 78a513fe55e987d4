"""Counts of buffer reads and writes by the array."""

import math
from dataclasses import dataclass

from accelerator.array import (
    BitSerial,
    Dataflow,
    RowStationary,
    Spatial,
    Systolic,
    VectorCore,
)
from accelerator.dram.traffic import DramTraffic
from accelerator.engines.bit_serial import bit_serial_accesses
from accelerator.engines.vector_core import count_product_outputs, vector_core_accesses
from accelerator.machine import Machine
from accelerator.widths import Widths
from accelerator.workload import Gemm, Op, OpKind


@dataclass(frozen=True, slots=True)
class Accesses:
    """Elements exchanged between buffers and array; partial sums apart from final outputs."""

    weights: float
    inputs: float
    partial_writes: float
    partial_reads: float
    outputs: float


@dataclass(frozen=True, slots=True)
class BufferBits:
    """Bits through the buffers, by class and direction, fill and drain by DRAM included."""

    weight_reads: float
    weight_writes: float
    input_reads: float
    input_writes: float
    output_reads: float
    output_writes: float
    array: float
    """Bits of these that travel between buffers and array."""

    @property
    def total_bits(self) -> int:
        """Bits read or written in sum."""
        reads = self.weight_reads + self.input_reads + self.output_reads
        return math.ceil(reads + self.weight_writes + self.input_writes + self.output_writes)


def count_accesses(op: Op, machine: Machine, widths: Widths) -> Accesses:
    """Return buffer accesses of one matrix product, in elements.

    Systolic: the counts SCALE-Sim 3.0.0 reports. Spatial: MACs over the unrolls of loops that an
    operand does not depend on (the rule of Timeloop and ZigZag). Row stationary: measured ratios
    per MAC. Bit serial: the loads of the tiles. Vector core: a loop over 2 x 2 outputs.
    """
    match machine.array:
        case Systolic() as array:
            accesses = systolic_accesses(op.lower_to_gemm(), array, widths.rate)
        case Spatial() as array:
            accesses = _spatial_buffer_accesses(op, array, widths.rate)
        case RowStationary() as array:
            linear = op.kind in (OpKind.LINEAR, OpKind.MATMUL)
            conv = array.buffer_accesses_per_mac_conv
            ratio = array.buffer_accesses_per_mac_linear if linear else conv
            # The ratio counts every class together; inputs are most of them.
            accesses = Accesses(0, op.macs * ratio, 0, 0, 0)
        case BitSerial() as array:
            weights, inputs = bit_serial_accesses(op, array)
            accesses = Accesses(weights, inputs, 0, 0, count_product_outputs(op))
        case VectorCore():
            weights, inputs = vector_core_accesses(op)
            accesses = Accesses(weights, inputs, 0, 0, count_product_outputs(op))
    if widths.passes == 1:
        return accesses
    # A part of one operand is read once for each part of the other, so whole operands are counted.
    return Accesses(
        accesses.weights * widths.activation_parts,
        accesses.inputs * widths.weight_parts,
        accesses.partial_writes * widths.passes,
        accesses.partial_reads * widths.passes,
        accesses.outputs,
    )


def systolic_accesses(gemm: Gemm, array: Systolic, rate: float = 1.0) -> Accesses:
    """Return the accesses of `gemm` in elements, summed over the groups."""
    p, k, m, g = gemm.rows, gemm.depth, gemm.columns, gemm.groups
    weights, inputs, outputs = g * k * m, g * p * k, g * p * m
    depth_folds = math.ceil(k / max(rate, 1.0) / array.rows)
    match array.dataflow:
        case Dataflow.WEIGHTS:
            inputs *= math.ceil(m / array.columns)
        case Dataflow.INPUTS:
            weights *= math.ceil(p / array.columns)
        case Dataflow.OUTPUTS:
            weights *= math.ceil(p / array.rows)
            inputs *= math.ceil(m / array.columns)
    held = array.accumulator_in_array or array.dataflow is Dataflow.OUTPUTS
    partial = 0 if held else outputs * (depth_folds - 1)
    return Accesses(weights, inputs, partial, partial, outputs)


def sum_buffer_bits(accesses: Accesses, traffic: DramTraffic, widths: Widths) -> BufferBits:
    """Add the bits between array and buffers to the bits that DRAM fills and drains."""
    weights = accesses.weights * widths.stored_weight
    inputs = accesses.inputs * widths.stored_input
    partial_out = accesses.partial_writes * widths.accumulator + traffic.partial_bits / 2
    partial_in = accesses.partial_reads * widths.accumulator + traffic.partial_bits / 2
    outputs = accesses.outputs * widths.stored_output
    return BufferBits(
        weight_reads=weights,
        weight_writes=traffic.weight_bits + traffic.weight_memory_bits,
        input_reads=inputs,
        input_writes=traffic.input_bits,
        output_reads=partial_in + traffic.output_bits,
        output_writes=partial_out + outputs,
        array=weights + inputs + partial_in + partial_out + outputs,
    )


def _spatial_buffer_accesses(op: Op, array: Spatial, rate: float) -> Accesses:
    gemm, reuse = op.lower_to_gemm(), array.reuse
    loops = array.depthwise if op.kind is OpKind.DEPTHWISE else None
    rows, columns = array.unroll.out_rows, array.unroll.out_columns
    over_outputs, lanes = array.unroll.outputs, array.unroll.depth * rate
    if loops is not None:
        rows, columns = loops.out_rows, loops.out_columns
        over_outputs, lanes = 1, loops.taps * rate
    # An unroll larger than its loop reuses an operand only as often as the loop goes.
    if op.kind in (OpKind.LINEAR, OpKind.MATMUL):
        positions = _occupied_share(gemm.rows, rows * columns)
    else:
        positions = _occupied_share(op.out_h, rows) * _occupied_share(op.out_w, columns)
    weights = op.macs / (positions * reuse.weight)
    inputs = op.macs / (_occupied_share(gemm.columns, over_outputs) * reuse.input)
    outputs = gemm.rows * gemm.columns * gemm.groups
    partial = 0.0
    if not array.accumulator_in_array:
        partial = op.macs / _occupied_share(gemm.depth, max(1, int(lanes))) - outputs
    return Accesses(weights, inputs, partial, partial, outputs)


def _occupied_share(loop: int, unroll: int) -> float:
    return loop / math.ceil(loop / unroll)
