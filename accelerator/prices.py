"""Energies in pJ of a MAC, a buffer access and a requantization on a machine."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from accelerator.machine import Machine
from accelerator.parts import CycleMac, FittedMac, MachineEnergy, Requant, SramPrice
from accelerator.technology import REFERENCE_NM, SUPPLY_V, scale_between_nodes

# Horowitz, ISSCC 2014, 45 nm, pJ: 32-bit add 0.1 and multiply 3.1, float add 0.9, multiply 3.7.
ADD_PJ_PER_BIT = 0.1 / 32
REQUANT_PJ = {Requant.MULTIPLY: 3.1 + 2 * 0.1, Requant.SHIFT: 0.2, Requant.NONE: 0.0}
FLOAT_ADD_PJ = 0.9
FLOAT_MAC_PJ = 3.7 + FLOAT_ADD_PJ

# (bytes, pJ per bit) at 45 nm: 8 KiB and above Horowitz (10, 20, 100 pJ per 64-bit access),
# below that CACTI runs recorded in the BitFusion repository (32-bit port, reads).
SRAM_POINTS: tuple[tuple[int, float], ...] = (
    (128, 0.021),
    (512, 0.033),
    (1024, 0.035),
    (2048, 0.059),
    (4096, 0.107),
    (8192, 0.15625),
    (32_768, 0.3125),
    (1_048_576, 1.5625),
)


@dataclass(frozen=True, slots=True)
class Prices:
    """A machine's energies made ready: Horowitz factor at the node, buffer prices, pJ per bit."""

    node_factor: float
    sram: SramPrice


def set_access_prices(machine: Machine) -> Prices:
    """Return the energies derived from buffer sizes and technology."""
    factor = scale_between_nodes(REFERENCE_NM, machine.technology_nm)
    if machine.sram.price is not None:
        return Prices(factor, machine.sram.price)
    buffers = machine.buffers
    weight, inputs, outputs = (
        factor * sram_pj_per_bit(size)
        for size in (buffers.weight_bytes, buffers.input_bytes, buffers.output_bytes)
    )
    return Prices(
        factor,
        SramPrice(
            weight_read_pj_per_bit=weight,
            weight_write_pj_per_bit=weight,
            input_read_pj_per_bit=inputs,
            input_write_pj_per_bit=inputs,
            output_read_pj_per_bit=outputs,
            output_write_pj_per_bit=outputs,
        ),
    )


def sram_pj_per_bit(size_bytes: int) -> float:
    """Return the energy of a buffer access at 45 nm in pJ per bit, log-log between known sizes.

    Flat below 128 bytes; above 1 MiB the last slope goes on.
    """
    if size_bytes <= SRAM_POINTS[0][0]:
        return SRAM_POINTS[0][1]
    pairs = list(pairwise(SRAM_POINTS))
    below, above = next((pair for pair in pairs if size_bytes <= pair[1][0]), pairs[-1])
    share = math.log(size_bytes / below[0]) / math.log(above[0] / below[0])
    return below[1] * math.exp(share * math.log(above[1] / below[1]))


def mac_energy_pj(
    machine: Machine, weight: int, activation: int, accumulator: int, rate: float
) -> float:
    """Return the energy of a MAC in pJ at computed widths in bits and a rate per PE cycle."""
    match machine.energy.mac:
        case CycleMac(pj_per_pe_cycle=cycle):
            return cycle / rate
        case FittedMac() as fit:
            product = weight * activation
            return (
                fit.k2_pj_per_bit2 * product
                + fit.k1_pj_per_bit * math.sqrt(product)
                + fit.accumulator_pj_per_bit * accumulator
                + fit.k0_pj
            )


def scale_technology(machine: Machine, to_nm: int, supply_v: float = SUPPLY_V) -> Machine:
    """Return the machine with on-chip energies carried to another node in nm.

    DRAM, clock and leakage stay; the error measured at the old node is dropped. Raises ValueError
    for a node without a fit.
    """
    factor = scale_between_nodes(machine.technology_nm, to_nm, supply_v)
    price, unit, memory = machine.sram.price, machine.float_unit, machine.weight_memory
    return replace(
        machine,
        technology_nm=to_nm,
        energy=_scale_machine_energies(machine.energy, factor),
        sram=replace(
            machine.sram, price=None if price is None else _scale_sram_prices(price, factor)
        ),
        float_unit=None if unit is None else replace(unit, pj_per_mac=unit.pj_per_mac * factor),
        weight_memory=None
        if memory is None
        else replace(memory, read_pj_per_bit=memory.read_pj_per_bit * factor),
        mac_costs=machine.mac_costs.scale_energy(factor),
        overheads=replace(
            machine.overheads,
            pj_per_inference=machine.overheads.pj_per_inference * factor,
            pj_per_cycle=machine.overheads.pj_per_cycle * factor,
        ),
        fit=None,
    )


def _scale_machine_energies(energy: MachineEnergy, factor: float) -> MachineEnergy:
    mac = energy.mac
    scaled: CycleMac | FittedMac
    match mac:
        case CycleMac():
            scaled = CycleMac(pj_per_pe_cycle=mac.pj_per_pe_cycle * factor)
        case FittedMac():
            scaled = FittedMac(
                k2_pj_per_bit2=mac.k2_pj_per_bit2 * factor,
                k1_pj_per_bit=mac.k1_pj_per_bit * factor,
                accumulator_pj_per_bit=mac.accumulator_pj_per_bit * factor,
                k0_pj=mac.k0_pj * factor,
            )
    return MachineEnergy(
        mac=scaled,
        weight_register_pj_per_bit=energy.weight_register_pj_per_bit * factor,
        input_register_pj_per_bit=energy.input_register_pj_per_bit * factor,
        accumulator_register_pj_per_bit=energy.accumulator_register_pj_per_bit * factor,
        noc_pj_per_bit=energy.noc_pj_per_bit * factor,
    )


def _scale_sram_prices(price: SramPrice, factor: float) -> SramPrice:
    return SramPrice(**{name: getattr(price, name) * factor for name in SramPrice.__slots__})
