"""Put the pieces together: a workload on a machine gives a report."""

import math
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from accelerator.accesses import Accesses, count_accesses, sum_buffer_bits
from accelerator.cycles import count_cycles
from accelerator.energy import (
    Energy,
    price_buffers,
    price_dram,
    price_elements,
    price_gemm,
    price_requantization,
)
from accelerator.machine import Machine, Spill
from accelerator.memory import (
    Lifetime,
    Peak,
    choose_residents,
    count_constants,
    find_lifetimes,
    find_peak,
    keep_weights,
)
from accelerator.prices import Prices, set_prices
from accelerator.report import CostReport, LayerCost
from accelerator.traffic import Crossing, DramTraffic, count_dram_traffic
from accelerator.widths import Widths, choose_widths, mode_chooser, store_activation
from accelerator.workload import GEMM_KINDS, WEIGHT_KINDS, Op, OpKind, TensorInfo, Workload

PJ_PER_J = 1e12


@dataclass(frozen=True, slots=True)
class Scene:
    """What every layer's cost needs to know of the machine and the network around it.

    `residents` are activations that stay on chip; `weights_resident` says whether weights do.
    """

    machine: Machine
    prices: Prices
    tensors: dict[str, TensorInfo]
    residents: frozenset[str]
    weights_resident: bool


def estimate(workload: Workload, machine: Machine, *, include_constants: bool = True) -> CostReport:
    """Return what one run of the workload costs on the machine.

    `include_constants` adds 4 bytes of scale and 4 of bias per output channel to the weights'
    size. Absolute energy is good to some 40 % only: compare runs on one machine.
    """
    choose = mode_chooser(machine)
    widths = [choose_widths(op, machine, choose) for op in workload.ops]
    pairs = list(zip(workload.ops, widths, strict=True))
    weight_bits = sum(op.shape_weights * width.stored_weight for op, width in pairs)
    lives = find_lifetimes(workload, machine)
    scene = set_scene(workload, machine, weight_bits, lives)
    layers = tuple(cost_op(op, width, scene) for op, width in pairs)
    constants = sum(count_constants(op) for op in workload.ops) if include_constants else 0
    peak_macs_per_s = _find_peak_rate(pairs, machine)
    peak = find_peak(workload, machine, lives)
    return CostReport(
        machine=machine.name,
        workload=workload.name,
        layers=layers,
        energy=reduce(add, (layer.energy for layer in layers)),
        latency_s=sum(layer.latency_s for layer in layers),
        cycles=sum(layer.cycles for layer in layers),
        macs=sum(layer.macs for layer in layers),
        bops=sum(op.macs * op.weight_bits * op.activation_bits for op in workload.ops),
        weight_bytes=math.ceil(weight_bits / 8) + constants,
        peak_activation_bytes=peak.size_bytes,
        peak_activation_step=peak.step,
        peak_tensors=peak.tensors,
        peak_macs_per_s=peak_macs_per_s,
        ridge_macs_per_byte=8 * peak_macs_per_s / (machine.dram.bits_per_cycle * machine.clock_hz),
        illustrative=machine.illustrative,
        notes=_write_notes(layers, machine, peak, kept=scene.weights_resident),
    )


def set_scene(
    workload: Workload, machine: Machine, weight_bits: float, lives: tuple[Lifetime, ...]
) -> Scene:
    """Decide what stays on chip, where the weights are stored in `weight_bits` in all."""
    return Scene(
        machine,
        set_prices(machine),
        {tensor.name: tensor for tensor in workload.tensors},
        choose_residents(workload, machine, lives),
        keep_weights(machine, weight_bits),
    )


def cost_op(op: Op, widths: Widths, scene: Scene) -> LayerCost:
    """Return what one op costs among the others; `estimate` adds these up."""
    machine, prices = scene.machine, scene.prices
    outputs = scene.tensors[op.output].elements
    elements = max(scene.tensors[name].elements for name in op.inputs)
    cycles = count_cycles(op, machine, widths, elements, outputs)
    if op.kind in GEMM_KINDS:
        traffic = _cross_dram(op, widths, scene)
        bits = sum_buffer_bits(count_accesses(op, machine, widths), traffic, widths)
        energy = price_gemm(op, machine, prices, widths, bits)
    else:
        traffic, accesses = _stream_elements(op, scene, widths), _touch_elements(op, scene)
        bits = sum_buffer_bits(accesses, traffic, widths)
        arithmetic = price_elements(op, machine, prices, widths, elements=elements, outputs=outputs)
        energy = Energy(mac_pj=arithmetic, sram_pj=price_buffers(bits, prices.sram))
    latency_s, bound = _find_latency(cycles, traffic, bits.total, machine)
    energy = replace(
        energy,
        dram_pj=price_dram(traffic, machine),
        requant_pj=price_requantization(op, machine, prices, outputs),
        static_pj=machine.static_w * latency_s * PJ_PER_J,
    )
    busy = machine.array.pes * widths.rate * cycles
    second = op.kind in GEMM_KINDS or op.multiply or op.table_elements > 0
    # The second operand of a matmul takes the weights' road but is an activation.
    own = op.kind in WEIGHT_KINDS or op.table_elements
    weight_bits = traffic.weight_bits if own else 0
    return LayerCost(
        layer=op.name,
        kind=op.kind,
        macs=op.macs,
        energy=energy,
        cycles=cycles,
        latency_s=latency_s,
        bound=bound,
        dram_weight_bits=weight_bits,
        dram_input_bits=traffic.input_bits + traffic.weight_bits - weight_bits,
        dram_output_bits=traffic.output_bits,
        sram_bits=bits.total,
        requested_weight_bits=op.weight_bits if second else 0,
        requested_activation_bits=op.activation_bits,
        compute_weight_bits=widths.weight if second else 0,
        compute_activation_bits=widths.activation,
        stored_weight_bits=widths.stored_weight if second else 0,
        stored_activation_bits=widths.stored_input,
        passes=widths.passes,
        utilization=op.macs * widths.passes / busy if busy else 0.0,
        on_host=widths.on_host,
        warnings=widths.warnings,
    )


def _cross_dram(op: Op, widths: Widths, scene: Scene) -> DramTraffic:
    """Count DRAM bits of a matrix product; the second operand of a matmul is an activation."""
    matmul = op.kind is OpKind.MATMUL
    second_stays = op.inputs[-1] in scene.residents if matmul else scene.weights_resident
    crossing = Crossing(
        weights=not second_stays,
        inputs=op.inputs[0] not in scene.residents,
        outputs=op.output not in scene.residents,
    )
    outputs = scene.tensors[op.output].elements
    return count_dram_traffic(op, scene.machine, widths, crossing, outputs)


def _stream_elements(op: Op, scene: Scene, widths: Widths) -> DramTraffic:
    """Count DRAM bits of an op without a matrix: each operand crosses once unless it stays.

    Of a table cross the values that are looked up.
    """
    looked_up = 0
    if op.table_elements and not scene.weights_resident:
        looked_up = math.ceil(scene.tensors[op.output].elements * widths.stored_weight)

    def bits(name: str) -> int:
        if name in scene.residents:
            return 0
        return _stored_bits(name, scene)

    return DramTraffic(looked_up, sum(map(bits, op.inputs)), bits(op.output), 0, 1)


def _touch_elements(op: Op, scene: Scene) -> Accesses:
    inputs = sum(scene.tensors[name].elements for name in op.inputs)
    return Accesses(0, inputs, 0, 0, scene.tensors[op.output].elements)


def _stored_bits(name: str, scene: Scene) -> int:
    tensor = scene.tensors[name]
    return tensor.elements * store_activation(tensor.bits, scene.machine)


def _find_latency(
    cycles: int, traffic: DramTraffic, sram_bits: int, machine: Machine
) -> tuple[float, str]:
    """Let compute, DRAM and SRAM overlap tile by tile: the longest, and a share of the next.

    The share is one tile's, exact for two equal stages of a double-buffered pipeline.
    """
    dram_bits = traffic.weight_bits + traffic.input_bits + traffic.output_bits
    sram_width = machine.sram.bits_per_cycle
    stages = {
        "compute": float(cycles),
        "dram": dram_bits / machine.dram.bits_per_cycle,
        "sram": sram_bits / sram_width if sram_width else 0.0,
    }
    bound = max(stages, key=stages.__getitem__)
    longest, second, _ = sorted(stages.values(), reverse=True)
    serial = machine.pipeline_tiles == 1
    tiles = 1 if serial else max(machine.pipeline_tiles, traffic.tiles)
    return (longest + second / tiles) / machine.clock_hz, bound


def _find_peak_rate(pairs: list[tuple[Op, Widths]], machine: Machine) -> float:
    """Return MACs per s in the fastest mode the workload uses."""
    rates = [w.rate / w.passes for op, w in pairs if op.kind in GEMM_KINDS]
    return machine.array.pes * machine.clock_hz * max(rates, default=1.0)


def _write_notes(
    layers: tuple[LayerCost, ...], machine: Machine, peak: Peak, *, kept: bool
) -> tuple[str, ...]:
    notes = ["Absolute energy is good to some 40 %: compare runs on one machine."]
    if machine.illustrative:
        notes.append("Illustrative: the maker never published this machine's energies.")
    host = sum(layer.on_host for layer in layers)
    if host:
        notes.append(f"{host} of {len(layers)} ops cannot run on this machine as asked.")
    if machine.weights_resident and not kept:
        notes.append("The weights do not fit on chip and are fetched from DRAM.")
    room = machine.buffers.resident_activation_bytes
    if machine.activation_spill is Spill.NEVER and peak.size_bytes > room:
        notes.append(f"Activations need {peak.size_bytes} bytes on chip, there are {room}.")
    return tuple(notes)
