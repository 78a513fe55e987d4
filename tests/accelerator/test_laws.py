"""What must hold for every network on every machine."""

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from accelerator import (
    CostReport,
    Machine,
    Op,
    OpKind,
    Workload,
    estimate_workload,
    load_preset,
    preset_names,
    scale_technology,
)
from accelerator.array import Systolic
from accelerator.cycles import systolic_cycles
from accelerator.machine import Spill, Storage
from accelerator.parts import Buffers
from accelerator.workload import Gemm
from tests.accelerator.networks import alone, conv, linear, mobilenet_v2, resnet18

MATMUL = Op(
    "qk", OpKind.MATMUL, ("q", "k"), "scores", batch=49, c_in=32, c_out=49, groups=6, weight_bits=8
)
LAYERS = [
    conv("stem", 3, 64, 112, 7, stride=2),
    conv("wide", 256, 512, 14),
    conv("grouped", 64, 128, 28, groups=4),
    conv("depthwise", 192, 192, 28, groups=192),
    linear("classifier", 4096, 1000),
    linear("tokens", 192, 768, 197),
    MATMUL,
]
BITS = (2, 3, 4, 5, 8, 12, 16)


def cost(op: Op, machine: Machine) -> CostReport:
    return estimate_workload(alone(op), machine)


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("network", [resnet18(), mobilenet_v2()], ids=lambda net: net.name)
def test_parts_sum_to_total(name: str, network: Workload) -> None:
    report = estimate_workload(network, load_preset(name))
    assert sum(layer.energy_pj for layer in report.layers) == pytest.approx(report.energy_pj)
    assert sum(report.energy.parts_by_name().values()) == pytest.approx(report.energy_pj)
    assert sum(layer.latency_s for layer in report.layers) == pytest.approx(report.latency_s)
    assert report.macs == sum(op.lower_to_gemm().macs for op in network.ops if op.macs)
    for layer in report.layers:
        assert layer.energy_pj > 0
        assert layer.latency_s > 0
        assert 0 <= layer.utilization <= 1
        assert all(part >= 0 for part in layer.energy.parts_by_name().values())


@pytest.mark.parametrize("name", ["horowitz45_generic", "synth45_fixed", "bitfusion_like"])
@pytest.mark.parametrize("op", LAYERS, ids=lambda op: op.name)
@pytest.mark.parametrize("width", ["weight_bits", "activation_bits", "output_bits"])
def test_packed_storage_never_costs_more_with_fewer_bits(name: str, op: Op, width: str) -> None:
    machine = load_preset(name)
    changes: list[dict[str, Any]] = [{width: bits} for bits in BITS]
    reports = [cost(replace(op, **change), machine) for change in changes]
    for fewer, more in pairwise(reports):
        assert fewer.dram_bits <= more.dram_bits
        assert fewer.energy.dram_pj <= more.energy.dram_pj
        assert fewer.energy.mac_pj <= more.energy.mac_pj
        assert fewer.energy.sram_pj <= more.energy.sram_pj
        assert fewer.cycles <= more.cycles
    assert reports[0].energy_pj < reports[-1].energy_pj


@pytest.mark.parametrize("name", ["edge_systolic_8b", "tpu_v1_like", "ethos_u55_256_like"])
@pytest.mark.parametrize("op", LAYERS, ids=lambda op: op.name)
def test_fixed_8_bit_machines_do_not_reward_narrow_arithmetic(name: str, op: Op) -> None:
    machine = load_preset(name)
    reports = [
        cost(replace(op, weight_bits=w, activation_bits=a), machine)
        for w, a in ((8, 8), (4, 8), (4, 4))
    ]
    assert len({report.cycles for report in reports}) == 1
    assert len({report.energy.mac_pj for report in reports}) == 1
    narrow = reports[-1].layers[0]
    assert (narrow.requested_weight_bits, narrow.compute_weight_bits) == (4, 8)
    assert any("computed as 8 x 8 bit" in warning for warning in narrow.warnings)


def test_containers_save_nothing_at_all() -> None:
    machine = load_preset("edge_systolic_8b")
    op = LAYERS[1]
    narrow = cost(replace(op, weight_bits=4, activation_bits=4, output_bits=4), machine)
    wide = cost(op, machine)
    assert narrow.energy == wide.energy
    assert narrow.latency_s == wide.latency_s


@pytest.mark.parametrize("op", LAYERS, ids=lambda op: op.name)
def test_bitfusion_rounds_up_and_passes(op: Op) -> None:
    machine = load_preset("bitfusion_like")
    three = cost(replace(op, weight_bits=3, activation_bits=3), machine)
    four = cost(replace(op, weight_bits=4, activation_bits=4), machine)
    assert (three.cycles, three.energy.mac_pj) == (four.cycles, four.energy.mac_pj)
    eight = cost(op, machine)
    sixteen = cost(replace(op, weight_bits=16, activation_bits=16), machine)
    assert sixteen.layers[0].passes == 4
    assert sixteen.cycles == 4 * eight.cycles
    assert sixteen.energy.mac_pj == pytest.approx(4 * eight.energy.mac_pj)


def test_utilization_of_an_endless_stream() -> None:
    array = load_preset("horowitz45_generic").array
    assert isinstance(array, Systolic)
    for depth, columns in ((27, 16), (40, 100), (32, 32), (576, 64)):
        gemm = Gemm(10_000_000, depth, columns, 1)
        folds_k, folds_m = -(-depth // 32), -(-columns // 32)
        expected = depth / (32 * folds_k) * columns / (32 * folds_m)
        busy = systolic_cycles(gemm, array) * array.pe_count
        assert gemm.macs / busy == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("op", LAYERS, ids=lambda op: op.name)
def test_twice_the_dram_bandwidth_never_slows(name: str, op: Op) -> None:
    slow = load_preset(name)
    dram = replace(slow.dram, bits_per_cycle=2 * slow.dram.bits_per_cycle)
    assert cost(op, replace(slow, dram=dram)).latency_s <= cost(op, slow).latency_s


@pytest.mark.parametrize("op", LAYERS, ids=lambda op: op.name)
def test_a_layer_that_fits_moves_each_operand_once(op: Op) -> None:
    big = 1 << 30
    machine = replace(
        load_preset("edge_systolic_8b"),
        activation_spill=Spill.ALWAYS,
        buffers=Buffers(
            weight_bytes=big,
            input_bytes=big,
            output_bytes=big,
            resident_activation_bytes=0,
            unified=False,
            double_buffer=True,
        ),
    )
    layer = cost(op, machine).layers[0]
    gemm = op.lower_to_gemm()
    second = 8 * gemm.depth * gemm.columns * gemm.groups
    assert layer.dram_weight_bits == (0 if op.kind is OpKind.MATMUL else second)
    assert layer.dram_weight_bits + layer.dram_input_bits == 8 * op.count_input_elements + second
    assert layer.dram_output_bits == 8 * gemm.rows * gemm.columns * gemm.groups


def test_larger_buffers_never_move_more() -> None:
    machine = load_preset("horowitz45_generic")
    op = conv("wide", 256, 512, 28)
    moved = []
    for size in (4096, 16384, 65536, 262144, 1 << 22):
        buffers = replace(
            machine.buffers, weight_bytes=size, input_bytes=size, output_bytes=1 << 24
        )
        moved.append(cost(op, replace(machine, buffers=buffers)).dram_bits)
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > moved[-1]


def test_packing_groups_is_faster_and_computes_as_much() -> None:
    packed = load_preset("edge_systolic_8b")
    assert isinstance(packed.array, Systolic)
    plain = replace(packed, array=replace(packed.array, pack_groups=False))
    op = conv("dw", 192, 192, 28, groups=192)
    with_packing, without = cost(op, packed), cost(op, plain)
    assert without.cycles == 192 * 877  # SCALE-Sim's cycles of one channel
    assert without.cycles == 3 * with_packing.cycles  # three 3 x 3 kernels lie on 32 rows
    assert with_packing.energy.mac_pj == without.energy.mac_pj


def test_overlapped_weight_loads_are_faster() -> None:
    array = load_preset("horowitz45_generic").array
    assert isinstance(array, Systolic)
    gemm = Gemm(49, 576, 512, 1)
    overlapped = systolic_cycles(gemm, replace(array, overlap_weight_load=True))
    assert overlapped == 18 * 16 * 49 + 63
    assert overlapped < systolic_cycles(gemm, array)


def test_entropy_storage_saves_weights_only() -> None:
    machine = load_preset("ethos_u55_256_like")
    op = linear("fc", 512, 1000)
    plain = cost(op, machine)
    coded = cost(replace(op, weight_bits=2, weight_entropy=1.5), machine)
    assert coded.layers[0].stored_weight_bits == pytest.approx(1.575)
    assert coded.layers[0].dram_weight_bits == pytest.approx(512_000 * 1.575)
    assert coded.cycles == plain.cycles
    assert coded.latency_s < plain.latency_s


def test_technology_scales_the_chip_and_not_the_dram() -> None:
    for name in preset_names():
        machine = replace(load_preset(name), technology_nm=45, static_w=0.0)
        old, new = (
            estimate_workload(resnet18(), scaled).energy
            for scaled in (machine, scale_technology(machine, 16))
        )
        assert new.dram_pj == old.dram_pj
        for part in ("mac_pj", "register_pj", "sram_pj", "noc_pj", "requant_pj"):
            assert getattr(new, part) == pytest.approx(0.18731 * getattr(old, part), rel=1e-3)


def test_random_layers_obey_the_floor_of_full_use() -> None:
    """No machine finishes more MACs a cycle than it has multipliers at its rate."""
    dice = random.Random(7)
    for _ in range(200):
        machine = load_preset(dice.choice(preset_names()))
        size, kernel = dice.choice((7, 14, 27)), dice.choice((1, 3, 5))
        op = conv("x", dice.randint(1, 300), dice.randint(1, 300), size, kernel)
        op = replace(op, weight_bits=dice.choice(BITS), activation_bits=dice.choice(BITS))
        layer = cost(op, machine).layers[0]
        assert 0 < layer.utilization <= 1
        assert layer.compute_weight_bits * layer.passes >= op.weight_bits


def test_packed_needs_no_more_memory_than_containers() -> None:
    packed = load_preset("horowitz45_generic")
    boxed = replace(packed, weight_storage=Storage.CONTAINER, activation_storage=Storage.CONTAINER)
    for bits in (2, 3, 4, 8, 16):
        network = resnet18(bits, bits)
        small, large = estimate_workload(network, packed), estimate_workload(network, boxed)
        assert small.peak_activation_bytes * max(8, bits) == large.peak_activation_bytes * bits
        assert small.weight_bytes <= large.weight_bytes
