"""Energy in pJ of multiplications, accesses and transferred bits."""

import operator
from dataclasses import dataclass, fields

from accelerator.accesses import BufferBits
from accelerator.array import RowStationary
from accelerator.cycles import count_element_ops
from accelerator.dram.traffic import DramTraffic
from accelerator.machine import Machine
from accelerator.parts import Scales, SramPrice
from accelerator.prices import (
    ADD_PJ_PER_BIT,
    FLOAT_ADD_PJ,
    FLOAT_MAC_PJ,
    REQUANT_PJ,
    Prices,
    mac_energy_pj,
)
from accelerator.widths import Widths
from accelerator.workload import FLOAT_BITS, GEMM_KINDS, Op, OpKind


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy in pJ, by the place of spending."""

    mac_pj: float = 0.0
    register_pj: float = 0.0
    sram_pj: float = 0.0
    noc_pj: float = 0.0
    dram_pj: float = 0.0
    requant_pj: float = 0.0
    static_pj: float = 0.0
    weight_memory_pj: float = 0.0
    cycle_pj: float = 0.0
    fixed_pj: float = 0.0

    @property
    def total_pj(self) -> float:
        """Sum of the parts."""
        return float(sum(_parts_of(self)))

    def parts_by_name(self) -> dict[str, float]:
        """Return the parts in pJ by name."""
        return dict(zip(_PARTS, _parts_of(self), strict=True))

    def __add__(self, other: "Energy") -> "Energy":
        return Energy(*map(operator.add, _parts_of(self), _parts_of(other)))


def scale_energy_parts(energy: Energy, scales: Scales) -> Energy:
    """Multiply the parts of an energy in pJ by the fitted factors of the groups."""
    compute, memory = scales.compute_energy, scales.memory_energy
    return Energy(
        mac_pj=energy.mac_pj * compute,
        register_pj=energy.register_pj * compute,
        sram_pj=energy.sram_pj * memory,
        noc_pj=energy.noc_pj * compute,
        dram_pj=energy.dram_pj * memory,
        requant_pj=energy.requant_pj * compute,
        static_pj=energy.static_pj * scales.static_energy,
        weight_memory_pj=energy.weight_memory_pj * memory,
        cycle_pj=energy.cycle_pj * scales.cycle_energy,
        fixed_pj=energy.fixed_pj * scales.fixed_energy,
    )


_PARTS = tuple(field.name for field in fields(Energy))
_parts_of = operator.attrgetter(*_PARTS)


def price_matrix_product(
    op: Op, machine: Machine, prices: Prices, widths: Widths, bits: BufferBits
) -> Energy:
    """Price a matrix product's arithmetic, registers, buffers and network in pJ."""
    energy = machine.energy
    steps = op.macs * widths.passes
    if op.is_float:
        unit = machine.float_unit
        per_mac = unit.pj_per_mac if unit else FLOAT_MAC_PJ * prices.node_factor
        arithmetic = op.macs * per_mac
    else:
        arithmetic = steps * mac_energy_pj(
            machine, widths.weight, widths.activation, widths.accumulator, widths.rate
        )
    # Each MAC reads both operands, and reads and writes its partial sum.
    registers = steps * (
        widths.weight * energy.weight_register_pj_per_bit
        + widths.activation * energy.input_register_pj_per_bit
        + 2 * widths.accumulator * energy.accumulator_register_pj_per_bit
    )
    return Energy(
        mac_pj=arithmetic,
        register_pj=registers,
        sram_pj=price_buffer_bits(bits, prices.sram),
        noc_pj=energy.noc_pj_per_bit * _count_noc_bits(op, machine, widths, bits),
    )


def price_elements(
    op: Op, machine: Machine, prices: Prices, widths: Widths, *, elements: int, outputs: int
) -> float:
    """Return pJ of the arithmetic of an elementwise, pooling or vector op."""
    count = count_element_ops(op, machine, elements, outputs)
    if op.is_float:
        multiplied = op.kind is OpKind.ELTWISE and op.multiply
        unit_pj = FLOAT_MAC_PJ - FLOAT_ADD_PJ if multiplied else FLOAT_ADD_PJ
        return count * unit_pj * prices.node_factor
    if op.kind is OpKind.ELTWISE and op.multiply:
        pair = (widths.weight, widths.activation, widths.accumulator, widths.rate)
        return count * widths.passes * mac_energy_pj(machine, *pair)
    width = widths.stored_input if op.kind is OpKind.POOL else widths.accumulator
    return count * width * ADD_PJ_PER_BIT * prices.node_factor


def price_requantization(op: Op, machine: Machine, prices: Prices, outputs: int) -> float:
    """Return pJ to bring accumulators to output widths; 0 for float outputs and pools."""
    requantized = op.kind in GEMM_KINDS or op.kind is OpKind.ELTWISE
    if not requantized or op.output_bits >= FLOAT_BITS:
        return 0.0
    return outputs * REQUANT_PJ[machine.post.requant] * prices.node_factor


def price_dram_traffic(traffic: DramTraffic, machine: Machine) -> float:
    """Return pJ of the bits read from and written to DRAM."""
    read = traffic.weight_bits + traffic.input_bits
    return read * machine.dram.read_pj_per_bit + traffic.output_bits * machine.dram.write_pj_per_bit


def price_weight_memory(traffic: DramTraffic, machine: Machine) -> float:
    """Return pJ of the weights read from the on-chip weight memory."""
    memory = machine.weight_memory
    return 0.0 if memory is None else traffic.weight_memory_bits * memory.read_pj_per_bit


def price_buffer_bits(bits: BufferBits, price: SramPrice) -> float:
    """Return pJ of the buffer reads and writes."""
    return (
        bits.weight_reads * price.weight_read_pj_per_bit
        + bits.weight_writes * price.weight_write_pj_per_bit
        + bits.input_reads * price.input_read_pj_per_bit
        + bits.input_writes * price.input_write_pj_per_bit
        + bits.output_reads * price.output_read_pj_per_bit
        + bits.output_writes * price.output_write_pj_per_bit
    )


def _count_noc_bits(op: Op, machine: Machine, widths: Widths, bits: BufferBits) -> float:
    array = machine.array
    if not isinstance(array, RowStationary):
        return bits.array
    linear = op.kind in (OpKind.LINEAR, OpKind.MATMUL)
    ratio = array.noc_accesses_per_mac_linear if linear else array.noc_accesses_per_mac_conv
    return op.macs * widths.passes * ratio * widths.activation
