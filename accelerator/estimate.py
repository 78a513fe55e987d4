"""Put the pieces together: a workload on a machine gives a report."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from accelerator.accesses import Accesses, count_accesses, sum_buffer_bits
from accelerator.cycles import count_cycles
from accelerator.dram.residency import WeightBlock, count_stored_bits, keep_weights_on_chip
from accelerator.dram.traffic import (
    Crossing,
    DramTraffic,
    count_dram_traffic,
    fits_input_buffer,
)
from accelerator.energy import (
    Energy,
    price_buffer_bits,
    price_dram_traffic,
    price_elements,
    price_matrix_product,
    price_requantization,
    price_weight_memory,
    scale_energy_parts,
)
from accelerator.engines.mac_costs import MacWork, cost_of_macs
from accelerator.engines.stages import Stages, find_stages
from accelerator.interval import describe_machine_error, energy_bounds, latency_bounds
from accelerator.machine import Machine, Spill
from accelerator.memory import (
    Lifetime,
    Peak,
    choose_resident_activations,
    count_constant_bytes,
    find_peak,
    find_tensor_lifetimes,
)
from accelerator.parts import Residency
from accelerator.prices import Prices, set_access_prices
from accelerator.report import CostReport, LayerCost, join_group_costs
from accelerator.widths import (
    ModeChooser,
    Widths,
    choose_widths,
    make_mode_chooser,
    stored_activation_bits,
)
from accelerator.workload import (
    GEMM_KINDS,
    WEIGHT_KINDS,
    Op,
    OpKind,
    TensorInfo,
    Workload,
    count_bit_operations,
    split_op_by_width,
)

PJ_PER_J = 1e12


@dataclass(frozen=True, slots=True)
class Scene:
    """The facts on machine and network for the cost of a layer.

    `residents` are activations that stay on chip; `weights_resident` the layers whose weights stay.
    `overhead_s` and `overhead_pj` are the costs of a layer beside the layer's work.
    """

    machine: Machine
    prices: Prices
    tensors: dict[str, TensorInfo]
    residents: frozenset[str]
    weights_resident: frozenset[str]
    overhead_s: float = 0.0
    overhead_pj: float = 0.0


def estimate_workload(
    workload: Workload, machine: Machine, *, include_constants: bool = True
) -> CostReport:
    """Return the cost of one run of the workload on the machine.

    `include_constants` adds 4 bytes of scale and 4 of bias per output channel to the weights' size.
    A machine fitted to measurements gives 90 % intervals too.
    """
    choose = make_mode_chooser(machine)
    widths = [choose_widths(op, machine, choose) for op in workload.ops]
    pairs = list(zip(workload.ops, widths, strict=True))
    weight_bits = sum(op.shape_weights * width.stored_weight for op, width in pairs)
    lives = find_tensor_lifetimes(workload, machine)
    scene = set_scene(workload, machine, widths, lives)
    layers = tuple(cost_of_layer(op, width, scene, choose) for op, width in pairs)
    constants = sum(count_constant_bytes(op) for op in workload.ops) if include_constants else 0
    peak_macs_per_s = _find_peak_rate(pairs, machine)
    peak = find_peak(workload, machine, lives)
    energy = reduce(add, (layer.energy for layer in layers))
    return CostReport(
        machine=machine.name,
        workload=workload.name,
        layers=layers,
        energy=energy,
        latency_s=sum(layer.latency_s for layer in layers),
        cycles=sum(layer.cycles for layer in layers),
        macs=sum(layer.macs for layer in layers),
        bops=sum(count_bit_operations(op) for op in workload.ops),
        weight_bytes=math.ceil(weight_bits / 8) + constants,
        peak_activation_bytes=peak.size_bytes,
        peak_activation_step=peak.step,
        peak_tensors=peak.tensors,
        peak_macs_per_s=peak_macs_per_s,
        ridge_macs_per_byte=8 * peak_macs_per_s / (machine.dram.bits_per_cycle * machine.clock_hz),
        illustrative=machine.illustrative,
        notes=_write_notes(layers, machine, peak),
        energy_pj_ci=energy_bounds(machine, energy, layers),
        latency_s_ci=latency_bounds(machine, layers),
        trust=describe_machine_error(machine),
    )


def set_scene(
    workload: Workload, machine: Machine, widths: Sequence[Widths], lives: tuple[Lifetime, ...]
) -> Scene:
    """Decide what stays on chip; `widths` holds an entry for each op of the workload."""
    overheads = machine.overheads
    started = overheads.cycles_per_layer / machine.clock_hz
    shared = overheads.s_per_inference * machine.scales.fixed_time / len(workload.ops)
    scene = Scene(
        machine,
        set_access_prices(machine),
        {tensor.name: tensor for tensor in workload.tensors},
        choose_resident_activations(workload, machine, lives),
        frozenset(),
        started + shared,
        overheads.pj_per_inference / len(workload.ops),
    )
    if machine.weights_resident is Residency.NEVER:
        return scene
    pairs = zip(workload.ops, widths, strict=True)
    blocks = [_weight_block_of(op, width, scene) for op, width in pairs]
    return replace(scene, weights_resident=keep_weights_on_chip(machine, blocks))


def _weight_block_of(op: Op, widths: Widths, scene: Scene) -> WeightBlock:
    """Return the room of an op's weights, and the DRAM bits saved by weights that stay."""
    size = count_stored_bits(op, widths)
    if not size:
        return WeightBlock(op.name, 0, 0)
    cross = _product_traffic if op.kind in GEMM_KINDS else _element_traffic
    stays = replace(scene, weights_resident=frozenset({op.name}))
    saved = cross(op, widths, scene).all_dram_bits - cross(op, widths, stays).all_dram_bits
    return WeightBlock(op.name, size, saved)


def cost_of_layer(op: Op, widths: Widths, scene: Scene, choose: ModeChooser) -> LayerCost:
    """Return the cost of one op; channels of several widths cost a product for each width.

    The input is read once if the input stays in the buffer, else once a group (our choice).
    """
    if not op.weight_groups:
        return cost_of_op(op, widths, scene)
    machine, output = scene.machine, scene.tensors[op.output]
    n = len(op.weight_groups)
    first = replace(scene, overhead_s=scene.overhead_s / n, overhead_pj=scene.overhead_pj / n)
    stays = {op.inputs[0]} if fits_input_buffer(op, machine, widths) else set()
    later = replace(first, residents=first.residents | stays)
    parts, costs = split_op_by_width(op), []
    for number, part in enumerate(parts):
        small = replace(output, elements=max(1, round(output.elements * part.c_out / op.c_out)))
        own = replace(later if number else first, tensors={**scene.tensors, op.output: small})
        costs.append(cost_of_op(part, choose_widths(part, machine, choose), own))
    return join_group_costs([part.weight_bits for part in parts], costs, widths.stored_weight)


@dataclass(frozen=True, slots=True)
class OpCost:
    """The cost of an op as the cost model counts it; `cost_of_op` adds what a report shows."""

    energy: Energy
    cycles: int
    latency_s: float
    stages: Stages
    traffic: DramTraffic
    sram_bits: int
    work: MacWork


def price_op(op: Op, widths: Widths, scene: Scene) -> OpCost:
    """Return the energy in pJ, cycles and latency in s of one op among the others.

    Of a matrix product, `widths` say all of the operands' bits, but for `op.is_float` and a float
    output.
    """
    machine, prices = scene.machine, scene.prices
    outputs = scene.tensors[op.output].elements
    elements = max([scene.tensors[name].elements for name in op.inputs])
    cycles = count_cycles(op, machine, widths, elements, outputs)
    if op.kind in GEMM_KINDS:
        traffic = _product_traffic(op, widths, scene)
        bits = sum_buffer_bits(count_accesses(op, machine, widths), traffic, widths)
        energy = price_matrix_product(op, machine, prices, widths, bits)
    else:
        traffic, accesses = _element_traffic(op, widths, scene), _element_accesses(op, scene)
        bits = sum_buffer_bits(accesses, traffic, widths)
        arithmetic = price_elements(op, machine, prices, widths, elements=elements, outputs=outputs)
        energy = Energy(mac_pj=arithmetic, sram_pj=price_buffer_bits(bits, prices.sram))
    stages = find_stages(cycles, traffic, bits.total_bits, machine)
    work = cost_of_macs(op, widths, machine)
    latency_s = stages.compute_s + stages.memory_s + scene.overhead_s + work.latency_s
    cycles += round(work.latency_s * machine.clock_hz)
    energy = Energy(
        mac_pj=energy.mac_pj,
        register_pj=energy.register_pj,
        sram_pj=energy.sram_pj,
        noc_pj=energy.noc_pj,
        dram_pj=price_dram_traffic(traffic, machine),
        requant_pj=price_requantization(op, machine, prices, outputs),
        static_pj=machine.static_w * latency_s * PJ_PER_J,
        weight_memory_pj=price_weight_memory(traffic, machine),
        cycle_pj=machine.overheads.pj_per_cycle * cycles,
        fixed_pj=scene.overhead_pj,
    )
    energy = scale_energy_parts(energy, machine.scales)
    if work.energy_pj:
        energy = replace(energy, mac_pj=energy.mac_pj + work.energy_pj)
    return OpCost(energy, cycles, latency_s, stages, traffic, bits.total_bits, work)


def cost_of_op(op: Op, widths: Widths, scene: Scene) -> LayerCost:
    """Return the cost of one op among the others; `estimate_workload` adds up the costs."""
    cost = price_op(op, widths, scene)
    traffic, stages, work = cost.traffic, cost.stages, cost.work
    second = op.kind in GEMM_KINDS or op.multiply or op.table_elements > 0
    # The second operand of a matmul takes the weights' road but is an activation.
    weight_bits = traffic.weight_bits if op.kind in WEIGHT_KINDS or op.table_elements else 0
    return LayerCost(
        layer=op.name,
        kind=op.kind,
        macs=op.macs,
        energy=cost.energy,
        cycles=cost.cycles,
        latency_s=cost.latency_s,
        bound="compute" if work.latency_s > stages.memory_s else stages.bound,
        dram_weight_bits=weight_bits,
        dram_input_bits=traffic.input_bits + traffic.weight_bits - weight_bits,
        dram_output_bits=traffic.output_bits,
        sram_bits=cost.sram_bits,
        requested_weight_bits=op.weight_bits if second else 0,
        requested_activation_bits=op.activation_bits,
        compute_weight_bits=widths.weight if second else 0,
        compute_activation_bits=widths.activation,
        stored_weight_bits=widths.stored_weight if second else 0,
        stored_activation_bits=widths.stored_input,
        passes=widths.passes,
        utilization=_utilization_of(op, widths, scene.machine, cost.cycles),
        on_host=widths.on_host,
        warnings=widths.warnings,
        memory_s=stages.memory_s,
        overhead_s=scene.overhead_s,
        work=work,
        weight_room_bits=count_stored_bits(op, widths),
        weights_stay=op.name in scene.weights_resident and count_stored_bits(op, widths) > 0,
    )


def _utilization_of(op: Op, widths: Widths, machine: Machine, cycles: int) -> float:
    """Return the share of the array's MAC slots that the op uses."""
    busy = machine.array.pe_count * widths.rate * cycles
    return op.macs * widths.passes / busy if busy else 0.0


def _product_traffic(op: Op, widths: Widths, scene: Scene) -> DramTraffic:
    """Count DRAM bits of a matrix product; the second operand of a matmul is an activation."""
    matmul = op.kind is OpKind.MATMUL
    second_stays = op.inputs[-1] in scene.residents if matmul else op.name in scene.weights_resident
    crossing = Crossing(
        weights=not second_stays,
        inputs=op.inputs[0] not in scene.residents,
        outputs=op.output not in scene.residents,
    )
    outputs = scene.tensors[op.output].elements
    return count_dram_traffic(op, scene.machine, widths, crossing, outputs)


def _element_traffic(op: Op, widths: Widths, scene: Scene) -> DramTraffic:
    """Count DRAM bits of an op without a matrix: operands that do not stay, looked-up values."""
    looked_up, stays = 0, op.name in scene.weights_resident
    if op.table_elements:
        looked_up = math.ceil(scene.tensors[op.output].elements * widths.stored_weight)
    held = looked_up if stays and scene.machine.weight_memory is not None else 0
    looked_up = 0 if stays else looked_up

    def bits(name: str) -> int:
        if name in scene.residents:
            return 0
        return _stored_tensor_bits(name, scene)

    return DramTraffic(looked_up, sum(map(bits, op.inputs)), bits(op.output), 0, 1, held)


def _element_accesses(op: Op, scene: Scene) -> Accesses:
    inputs = sum(scene.tensors[name].elements for name in op.inputs)
    return Accesses(0, inputs, 0, 0, scene.tensors[op.output].elements)


def _stored_tensor_bits(name: str, scene: Scene) -> int:
    tensor = scene.tensors[name]
    return tensor.elements * stored_activation_bits(tensor.bits, scene.machine)


def _find_peak_rate(pairs: list[tuple[Op, Widths]], machine: Machine) -> float:
    """Return MACs per s in the fastest mode the workload uses."""
    rates = [w.rate / w.passes for op, w in pairs if op.kind in GEMM_KINDS]
    return machine.array.pe_count * machine.clock_hz * max(rates, default=1.0)


def _write_notes(layers: tuple[LayerCost, ...], machine: Machine, peak: Peak) -> tuple[str, ...]:
    notes = [] if machine.fit else ["This machine was never measured: compare choices only."]
    if machine.illustrative:
        notes.append("Illustrative: the maker never published this machine's energies.")
    host = sum(layer.on_host for layer in layers)
    if host:
        notes.append(f"{host} of {len(layers)} ops cannot run on this machine as asked.")
    notes += _describe_weight_residency(layers, machine)
    room = machine.buffers.resident_activation_bytes
    if machine.activation_spill is Spill.NEVER and peak.size_bytes > room:
        notes.append(f"Activations need {peak.size_bytes} bytes on chip, there are {room}.")
    return tuple(notes)


def _describe_weight_residency(layers: tuple[LayerCost, ...], machine: Machine) -> Iterator[str]:
    """Say how many layers' weights stay on chip, if the machine can keep weights."""
    weighted = [layer for layer in layers if layer.weight_room_bits]
    if machine.weights_resident is Residency.NEVER or not weighted:
        return
    stay = sum(layer.weights_stay for layer in weighted)
    needed = math.ceil(sum(layer.weight_room_bits for layer in weighted) / 8)
    room = machine.weight_room_bytes
    if machine.weights_resident is Residency.ALWAYS and needed > room:
        yield f"Weights need {needed} bytes on chip, there are {room}."
    elif stay == len(weighted):
        yield f"All weights stay on chip ({needed} of {room} bytes): no DRAM traffic for weights."
    else:
        yield (
            f"The weights do not fit on chip ({needed} bytes, there are {room}): those of {stay} "
            f"of {len(weighted)} layers stay, the others are fetched from DRAM for each inference."
        )
