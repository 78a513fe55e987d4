"""From the widths asked for to those computed with and stored."""

from dataclasses import replace

import pytest

from accelerator import Machine, OpKind, estimate_workload, load_preset
from accelerator.machine import Storage
from accelerator.modes import Family, Mode, ModeFamily, generate_family_modes
from accelerator.widths import Widths, choose_widths
from tests.accelerator.networks import alone, conv, linear

EDGE = load_preset("edge_systolic_8b")
GENERIC = load_preset("horowitz45_generic")
BITFUSION = load_preset("bitfusion_like")
ETHOS = load_preset("ethos_u55_256_like")


def widths(machine: Machine, w: int, a: int) -> Widths:
    return choose_widths(conv("x", 64, 64, 14, w=w, a=a), machine)


@pytest.mark.parametrize(
    ("machine", "asked", "computed", "rate", "passes"),
    [
        (EDGE, (4, 4), (8, 8), 1.0, 1),
        (EDGE, (16, 8), (8, 8), 1.0, 2),
        (EDGE, (16, 16), (8, 8), 1.0, 4),
        (GENERIC, (3, 5), (4, 8), 1.0, 1),
        (GENERIC, (2, 16), (2, 16), 1.0, 1),
        (BITFUSION, (1, 1), (2, 2), 16.0, 1),
        (BITFUSION, (3, 3), (4, 4), 4.0, 1),
        (BITFUSION, (2, 8), (2, 8), 4.0, 1),
        (BITFUSION, (10, 8), (8, 8), 1.0, 2),
        (ETHOS, (4, 8), (8, 8), 1.0, 1),
        (ETHOS, (8, 12), (8, 16), 0.5, 1),
        (load_preset("nvdla_full_like"), (8, 16), (16, 16), 0.5, 1),
        (load_preset("eyeriss_like"), (8, 8), (16, 16), 1.0, 1),
    ],
)
def test_the_next_mode_up_is_chosen(
    machine: Machine, asked: tuple[int, int], computed: tuple[int, int], rate: float, passes: int
) -> None:
    got = widths(machine, *asked)
    assert (got.weight, got.activation) == computed
    assert (got.rate, got.passes) == (rate, passes)
    assert not got.on_host


def test_families_generate_the_published_rates() -> None:
    def rates(family: Family) -> dict[tuple[int, int], float]:
        modes = generate_family_modes(ModeFamily(family=family, narrowest_bits=2, widest_bits=8))
        return {(m.weight_bits, m.activation_bits): m.macs_per_pe_cycle for m in modes}

    fusion = rates(Family.FUSION)
    assert len(fusion) == 9
    assert (fusion[8, 8], fusion[4, 8], fusion[2, 2]) == (1.0, 2.0, 16.0)
    assert set(rates(Family.PAIRS).values()) == {1.0}
    stripes = rates(Family.SERIAL_ACTIVATIONS)
    assert set(stripes) == {(8, a) for a in range(2, 9)}
    assert stripes[8, 5] == pytest.approx(1.6)
    assert rates(Family.SERIAL_BOTH)[3, 5] == pytest.approx(64 / 15)


def test_loom_is_slower_in_linear_layers() -> None:
    family = ModeFamily(family=Family.SERIAL_BOTH, narrowest_bits=1, widest_bits=16)
    loom = replace(BITFUSION, mode_family=family)
    assert choose_widths(conv("c", 64, 64, 14, w=4, a=8), loom).rate == 8.0
    assert choose_widths(linear("l", 64, 64, w=4, a=8), loom).rate == 4.0


def test_what_cannot_be_decomposed_is_flagged() -> None:
    machine = replace(EDGE, decompose=False)
    got = widths(machine, 16, 8)
    assert got.on_host
    assert any("no 16 x 8 bit unit" in warning for warning in got.warnings)
    assert not widths(machine, 8, 8).on_host


@pytest.mark.parametrize(
    ("storage", "bits", "entropy", "stored"),
    [
        (Storage.CONTAINER, 4, None, 8),
        (Storage.CONTAINER, 9, None, 16),
        (Storage.PACKED, 3, None, 3),
        (Storage.PACKED, 32, None, 32),
        (Storage.ENTROPY, 4, 2.0, 2.1),
        (Storage.ENTROPY, 8, 7.9, 8),
        (Storage.ENTROPY, 4, None, 4.2),
    ],
)
def test_stored_weights(storage: Storage, bits: int, entropy: float | None, stored: float) -> None:
    op = replace(conv("x", 64, 64, 14), weight_bits=bits, weight_entropy=entropy)
    got = choose_widths(op, replace(EDGE, weight_storage=storage))
    assert got.stored_weight == pytest.approx(stored)


def test_asked_and_effective_widths_stand_side_by_side() -> None:
    layer = estimate_workload(alone(conv("x", 64, 64, 14, w=4, a=5)), EDGE).layers[0]
    assert (layer.requested_weight_bits, layer.requested_activation_bits) == (4, 5)
    assert (layer.compute_weight_bits, layer.compute_activation_bits) == (8, 8)
    assert (layer.stored_weight_bits, layer.stored_activation_bits) == (8, 8)
    assert layer.warnings == (
        "4 x 5 bit asked, computed as 8 x 8 bit",
        "weights of 4 bit are stored in 8 bit",
        "activations of 5 bit are stored in 8 bit",
    )
    exact = estimate_workload(alone(conv("x", 64, 64, 14)), EDGE).layers[0]
    assert exact.warnings == ()


def test_float_is_flagged_where_there_is_no_float_unit() -> None:
    op = conv("x", 64, 64, 14, w=32, a=32)
    report = estimate_workload(alone(op), EDGE)
    layer = report.layers[0]
    assert layer.on_host
    assert "no float unit" in layer.warnings[0]
    assert any("1 of 1 ops cannot run" in note for note in report.notes)
    assert layer.energy.mac_pj == pytest.approx(4.6 * op.macs)
    assert layer.passes == 16
    assert layer.cycles == 16 * estimate_workload(alone(conv("x", 64, 64, 14)), EDGE).cycles
    assert layer.dram_weight_bits == 32 * op.shape_weights


def test_float_weights_or_activations_alone_are_float_too() -> None:
    for w, a in ((8, 32), (32, 8)):
        layer = estimate_workload(alone(conv("x", 64, 64, 14, w=w, a=a)), EDGE).layers[0]
        assert layer.on_host


def test_float_runs_where_there_is_a_unit() -> None:
    op = conv("x", 64, 64, 14, w=32, a=32)
    layer = estimate_workload(alone(op), GENERIC).layers[0]
    assert not layer.on_host
    assert layer.energy.mac_pj == pytest.approx(4.6 * op.macs)
    assert layer.energy.requant_pj == 0
    assert layer.cycles == estimate_workload(alone(conv("x", 64, 64, 14)), GENERIC).cycles


def test_modes_refuse_impossible_numbers() -> None:
    with pytest.raises(ValueError, match=r"modes.activation_bits must lie in 1..32, got 40"):
        Mode(weight_bits=8, activation_bits=40, macs_per_pe_cycle=1.0)
    with pytest.raises(ValueError, match="1 <= narrowest_bits <= widest_bits <= 32, got 8 and 4"):
        ModeFamily(family=Family.PAIRS, narrowest_bits=8, widest_bits=4)


def test_wide_operations_read_each_operand_once_per_part_of_the_other() -> None:
    eight = estimate_workload(alone(linear("x", 64, 64)), BITFUSION).layers[0]
    op = replace(linear("x", 64, 64), weight_bits=16)
    sixteen = estimate_workload(alone(op), BITFUSION).layers[0]
    weights, inputs = 64 * 64 * 8, 64 * 64 * 8 // 32
    # twice the bits of each weight (written and read), inputs read by both halves
    assert sixteen.sram_bits - eight.sram_bits == 2 * weights + inputs
    assert op.kind is OpKind.LINEAR
