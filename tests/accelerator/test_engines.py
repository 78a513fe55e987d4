"""Engines known by published closed forms, and operating points, counted by hand."""

from dataclasses import replace

import pytest

from accelerator import Op, OpKind, estimate_workload, load_preset
from accelerator.array import BitSerial, VectorCore
from accelerator.engines.bit_serial import bit_serial_accesses, bit_serial_cycles
from accelerator.engines.vector_core import vector_core_cycles
from accelerator.machine import machine_at_point
from accelerator.parts import Overheads
from accelerator.validation.networks import TINY, network_table
from tests.accelerator.networks import alone, conv, linear

GAP9 = load_preset("gap9_ne16_like")
NE16 = GAP9.array
CORTEX = load_preset("stm32u575_like")
assert isinstance(NE16, BitSerial)

# One tile of 3 x 3 positions, by hand with F = 6: (load + F + matrix-vector + 2) for each 16 input
# channels, then 9 + k and 4 + 9 ceil(8 k / 256).
ONE_TILE = [
    (conv("3x3", 16, 32, 3), 8, (31 + 6 + (6 + 32 * 8) + 2) + (9 + 32) + (4 + 9)),
    (conv("3x3", 16, 32, 3), 4, (31 + 6 + (6 + 32 * 4) + 2) + (9 + 32) + (4 + 9)),
    (conv("deep", 33, 8, 3), 2, 3 * (31 + 6 + (6 + 8 * 2) + 2) + (9 + 8) + (4 + 9)),
    (conv("1x1", 16, 32, 3, 1), 8, (19 + 6 + (6 + 32) + 2) + (9 + 32) + (4 + 9)),
    (
        conv("depthwise", 16, 16, 3, groups=16),
        5,
        (31 + 12 + 16 + (6 + 16 * 5) + 2) + (9 + 16) + (4 + 9),
    ),
    (linear("fc", 32, 8), 8, 2 * (19 + 6 + (6 + 8) + 2) + (9 + 8) + (4 + 9)),
]


@pytest.mark.parametrize(("op", "bits", "cycles"), ONE_TILE, ids=lambda value: str(value)[:20])
def test_cycles_of_a_tile_of_ne16(op: Op, bits: int, cycles: int) -> None:
    assert isinstance(NE16, BitSerial)
    assert bit_serial_cycles(op, NE16, bits) == cycles


def test_tiles_multiply_and_other_kernels_run_on_the_cores() -> None:
    assert isinstance(NE16, BitSerial)
    one, four = conv("one", 16, 32, 3), conv("four", 16, 32, 6)
    assert bit_serial_cycles(four, NE16, 8) == 4 * bit_serial_cycles(one, NE16, 8)
    odd = conv("5x5", 16, 32, 6, 5)
    assert bit_serial_cycles(odd, NE16, 8) == bit_serial_cycles(odd, NE16, 2)
    assert bit_serial_cycles(odd, NE16, 8) == -(-odd.macs // 15.5)
    weights, inputs = bit_serial_accesses(four, NE16)
    assert weights == 4 * four.shape_weights
    assert inputs == 4 * 25 * 16


@pytest.mark.parametrize("bits", [7, 6, 5, 4, 3, 2])
def test_bits_spared_save_cycles_in_3x3_and_none_in_1x1(bits: int) -> None:
    for op, gains in ((conv("3x3", 64, 64, 24), True), (conv("1x1", 64, 64, 24, 1), False)):
        wide, narrow = (
            estimate_workload(alone(replace(op, weight_bits=b)), GAP9).cycles
            for b in (bits + 1, bits)
        )
        assert (narrow < wide) is gains


def test_kws_at_8_instead_of_5_bits_costs_some_14_percent_more_cycles() -> None:
    eight, five = (estimate_workload(network_table("kws", bits), GAP9).latency_s for bits in (8, 5))
    assert eight / five == pytest.approx(1.14, abs=0.05)


def test_a_vector_core_counts_macs_by_kind_and_kernel_rows() -> None:
    core = CORTEX.array
    assert isinstance(core, VectorCore)
    op = conv("3x3", 8, 16, 10)
    assert vector_core_cycles(op, core) == pytest.approx(1.1 * op.macs + 16 * 3 * 1600)
    assert vector_core_cycles(linear("fc", 64, 10), core) == 2.0 * 640
    depthwise = conv("dw", 8, 8, 10, groups=8)
    assert vector_core_cycles(depthwise, core) == 3.0 * depthwise.macs


def test_narrow_weights_gain_nothing_on_a_cortex_m() -> None:
    eight, four = (estimate_workload(network_table("vww", bits), CORTEX) for bits in (8, 4))
    assert (four.latency_s, four.energy_pj) == (eight.latency_s, eight.energy_pj)


def test_overheads_add_to_time_and_energy() -> None:
    network = network_table("kws")
    base = replace(CORTEX, overheads=replace(CORTEX.overheads, pj_per_cycle=0.0))
    more = Overheads(cycles_per_layer=2000.0 + 160.0, s_per_inference=1e-3, pj_per_inference=5e6)
    plain, slow = (
        estimate_workload(network, replace(base, overheads=overheads))
        for overheads in (base.overheads, more)
    )
    layers = len(network.ops)
    scale = CORTEX.scales.fixed_time
    assert slow.latency_s - plain.latency_s == pytest.approx(layers * 1e-6 + 1e-3 * scale)
    assert slow.energy.fixed_pj == pytest.approx(5e6 * CORTEX.scales.fixed_energy)
    assert sum(layer.energy_pj for layer in slow.layers) == pytest.approx(slow.energy_pj)


def test_a_point_keeps_cycles_and_scales_energy() -> None:
    for name in TINY:
        low, high = (
            estimate_workload(network_table(name), load_preset(f"gap9_ne16_like{point}"))
            for point in ("", "@0.80V")
        )
        assert high.cycles == low.cycles
        assert high.latency_s / low.latency_s == pytest.approx(240 / 370)
        assert high.energy.mac_pj / low.energy.mac_pj == pytest.approx((0.80 / 0.65) ** 2)
        leakage = 0.80 / 0.65 * 240 / 370
        assert high.energy.static_pj / low.energy.static_pj == pytest.approx(leakage)
    with pytest.raises(ValueError, match=r"must be one of 0.80V, got '1V'"):
        machine_at_point(GAP9, "1V")


def test_the_energy_of_an_operation_falls_with_its_width_as_on_marsellus() -> None:
    """RBE's energy an operation goes with weight bits times activation bits (silicon.md)."""
    op = conv("3x3", 64, 64, 24)
    energies = {
        bits: estimate_workload(alone(replace(op, weight_bits=bits)), GAP9).energy
        for bits in (8, 4, 2)
    }
    for bits in (4, 2):
        ratio = energies[bits].mac_pj / energies[8].mac_pj
        assert ratio == pytest.approx(bits / 8, rel=0.25)


def test_a_matmul_of_activations_runs_too() -> None:
    op = Op("qk", OpKind.MATMUL, ("q", "k"), "s", batch=49, c_in=32, c_out=49, groups=6)
    for machine in (GAP9, CORTEX):
        report = estimate_workload(alone(op), machine)
        assert 0 < report.layers[0].utilization <= 1
