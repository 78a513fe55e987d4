"""Published scaling of chips with width, and DIANA's closed form, against our machines.

BrainTTA publishes 35, 67 and 405 fJ an operation at 1, ternary (stored as 2) and 8 bits. Marsellus'
RBE publishes its peak alone, 637 Gop/s and 12.4 TOPS/W at 2 to 8 bits, which is one point of a
curve: its energy at a second width is not public, so no test of shape can be made of it.
"""

import math

import pytest

from accelerator import load_preset
from accelerator.cycles import count_cycles
from accelerator.estimate import estimate_workload
from accelerator.prices import mac_energy_pj
from accelerator.validation.networks import TINY, TableBuilder, add_cifar_resnet, network_table
from accelerator.widths import choose_widths, make_mode_chooser
from accelerator.workload import GEMM_KINDS, Op, OpKind, Workload

BRAINTTA_FJ = {1: 35.0, 2: 67.0, 8: 405.0}
DIANA = load_preset("diana_like")
DIANA_PEAK, DIANA_NETWORKS = 14.0, (5.6, 7.0)
"""TOPS/W as published: at peak, and the range over whole networks."""


def test_energy_of_a_mac_falls_from_8_to_2_bits_as_brainttas_operation() -> None:
    machine = load_preset("synth45_fixed")
    wide, narrow = (mac_energy_pj(machine, bits, bits, 32, 1.0) for bits in (8, 2))
    assert wide / narrow == pytest.approx(BRAINTTA_FJ[8] / BRAINTTA_FJ[2], rel=0.25)


@pytest.mark.parametrize("left_out", [1, 2])
def test_the_form_of_the_mac_energy_fits_brainttas_third_width(left_out: int) -> None:
    """k2 w^2 + k1 w through 8 bits and another width; the third is within 25 %."""
    near = 3 - left_out
    # two equations: 64 k2 + 8 k1 = E(8) and near^2 k2 + near k1 = E(near)
    k2 = (BRAINTTA_FJ[8] / 8 - BRAINTTA_FJ[near] / near) / (8 - near)
    k1 = BRAINTTA_FJ[8] / 8 - 8 * k2
    assert min(k1, k2) > 0
    told = k2 * left_out**2 + k1 * left_out
    assert told == pytest.approx(BRAINTTA_FJ[left_out], rel=0.25)


def closed_form_steps(op: Op) -> int:
    """Return ceil(Cout/16) Cin ceil(OX/16) OY k^2 of DIANA, a group after another."""
    rows = op.out_h * math.ceil(op.out_w / 16)
    if op.kind is OpKind.LINEAR:
        rows = 1
    groups = op.c_out if op.kind is OpKind.DEPTHWISE else op.groups
    channels = op.c_in // groups
    taps = op.kernel_h * op.kernel_w
    return groups * math.ceil(op.c_out / groups / 16) * channels * rows * taps


@pytest.mark.parametrize("network", TINY)
def test_dianas_cycles_are_those_of_the_closed_form(network: str) -> None:
    choose = make_mode_chooser(DIANA)
    for op in network_table(network).ops:
        if op.kind in GEMM_KINDS:
            widths = choose_widths(op, DIANA, choose)
            assert count_cycles(op, DIANA, widths, 1, 1) == closed_form_steps(op)


def test_dianas_transfers_take_the_cycles_of_the_closed_form() -> None:
    """OX OY (Cout + Cin) / 8 cycles beside the steps, for a layer of stride 1."""
    (layer,) = estimate_workload(convolution(16, 16), DIANA).layers
    assert layer.memory_s * DIANA.clock_hz == pytest.approx(32 * 32 * (16 + 16) / 8)
    assert layer.cycles == 16 * 2 * 32 * 9


def convolution(c_in: int, c_out: int) -> Workload:
    table = TableBuilder(8, 8)
    table.start_with_input(c_in, 32, 32)
    table.add_convolution(c_out)
    return table.build_workload("convolution")


def resnet20() -> Workload:
    """ResNet-20 on CIFAR-10, the network that DIANA's range of whole networks is from."""
    table = TableBuilder(8, 8)
    add_cifar_resnet(table, 3)
    return table.build_workload("resnet20")


def test_diana_is_as_efficient_as_published_at_its_peak_and_over_a_network() -> None:
    peak, whole = (
        2 * report.macs / report.energy_pj
        for report in (
            estimate_workload(convolution(128, 128), DIANA),
            estimate_workload(resnet20(), DIANA),
        )
    )
    assert peak == pytest.approx(DIANA_PEAK, rel=0.1)
    assert DIANA_NETWORKS[0] <= whole <= DIANA_NETWORKS[1]


def test_diana_was_never_measured_network_by_network_and_says_so() -> None:
    reports = {name: estimate_workload(network_table(name), DIANA) for name in TINY}
    assert all(report.energy_pj_ci is None for report in reports.values())
    assert reports["ad"].energy_pj < reports["kws"].energy_pj
    assert reports["ad"].trust == "never measured: compare choices only"
