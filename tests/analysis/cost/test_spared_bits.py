"""Sentences on spared weight bits: the trap of NE16, whose 1 x 1 layers take the same cycles."""

import pytest

from accelerator.estimate import estimate_workload
from accelerator.machine import load_preset
from accelerator.report import CostReport
from accelerator.validation.networks import TINY, network_table
from analysis.cost.spared_bits import explain_spared_bits, find_spared_bits

GAP9 = "gap9_ne16_like"


def report(network: str, bits: int, machine: str = GAP9) -> CostReport:
    return estimate_workload(network_table(network, bits), load_preset(machine))


def test_ne16_gains_cycles_in_proportion_to_weight_bits_but_in_no_1x1_layer() -> None:
    """A step takes F + k wb cycles in 3 x 3 and depthwise layers, F + k in 1 x 1 (NE16)."""
    ops = {op.name: op for op in network_table("ic").ops}
    at = {bits: find_spared_bits(report("ic", 8), report("ic", bits)) for bits in (6, 4)}
    for half, quarter in zip(at[4], at[6], strict=True):
        op = ops[half.layer]
        if op.kernel_h == 3:
            assert half.cycles == pytest.approx(2 * quarter.cycles, abs=1)
            assert half.cycles > 0
        else:
            assert half.cycles == quarter.cycles == 0
            assert half.stored_bytes == op.shape_weights / 2


def test_the_layers_without_a_gain_are_named() -> None:
    (told,) = explain_spared_bits(report("ic", 8), report("ic", 4))
    assert told.startswith(
        "On GAP9 with NE16 like, fewer weight bits gain cycles in 7 of 10 layers"
    )
    assert "In conv 6, conv 10 and linear 13 they gain no cycles, only 1,600 bytes" in told


def test_kws_at_5_bits_saves_one_part_in_seven() -> None:
    """At 8 instead of 5 bits kws costs only some 14 % more cycles."""
    more = report("kws", 8).cycles / report("kws", 5).cycles - 1
    assert more == pytest.approx(0.14, abs=0.04)


def test_a_machine_that_stores_whole_bytes_gains_nothing() -> None:
    (told,) = explain_spared_bits(
        report("kws", 8, "stm32u575_like"), report("kws", 4, "stm32u575_like")
    )
    assert "in 0 of 10 layers" in told
    assert told.endswith("they gain no cycles, no memory and no energy.")


@pytest.mark.parametrize("network", TINY)
def test_without_spared_bits_nothing_is_said(network: str) -> None:
    assert explain_spared_bits(report(network, 4), report(network, 8)) == ()
