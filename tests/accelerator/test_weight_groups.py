"""Weights with a width for each output channel, on every machine: sums, laws, storage."""

from dataclasses import replace

import pytest

from accelerator.estimate import estimate_workload
from accelerator.machine import Storage, load_preset, preset_names
from accelerator.report import CostReport
from accelerator.workload import Op, OpKind, TensorInfo, Workload, split_op_by_width


def linear(groups: tuple[tuple[int, int], ...] = (), bits: int = 8) -> Op:
    return Op(
        name="fc", kind=OpKind.LINEAR, inputs=("x",), output="y", batch=4, c_in=96, c_out=64,
        weight_bits=bits, weight_groups=groups, bias_elements=64,
    )  # fmt: skip


def conv(groups: tuple[tuple[int, int], ...] = (), bits: int = 8, depthwise: bool = False) -> Op:
    return Op(
        name="conv", kind=OpKind.DEPTHWISE if depthwise else OpKind.CONV, inputs=("x",),
        output="y", c_in=32 if depthwise else 16, c_out=32, in_h=10, in_w=10, out_h=10, out_w=10,
        kernel_h=3, kernel_w=3, weight_bits=bits, weight_groups=groups,
    )  # fmt: skip


def report(op: Op, machine: str) -> CostReport:
    sizes = {OpKind.LINEAR: (4 * 96, 4 * 64), OpKind.CONV: (1600, 3200)}
    before, after = sizes.get(op.kind, (3200, 3200))
    tensors = (TensorInfo("x", before, 8), TensorInfo("y", after, 8))
    return estimate_workload(Workload("w", (op,), tensors, ("x",), ("y",)), load_preset(machine))


@pytest.mark.parametrize("machine", preset_names())
@pytest.mark.parametrize("op", [linear(), conv(), conv(depthwise=True)], ids=lambda o: str(o.kind))
def test_macs_and_bops_are_sums_and_energy_lies_between_the_widths(machine: str, op: Op) -> None:
    half = op.c_out // 2
    mixed = report(replace(op, weight_groups=((2, half), (8, half))), machine)
    narrow, wide = (report(replace(op, weight_bits=bits), machine) for bits in (2, 8))
    assert mixed.macs == wide.macs
    assert mixed.bops == (narrow.bops + wide.bops) // 2
    (layer,) = mixed.layers
    assert layer.requested_weight_bits == 8
    assert layer.stored_weight_bits >= narrow.layers[0].stored_weight_bits
    assert layer.energy.mac_pj >= narrow.layers[0].energy.mac_pj * 0.999
    assert layer.energy.mac_pj <= wide.layers[0].energy.mac_pj * 1.001
    assert "group by group" in layer.warnings[0]


def test_storage_holds_the_widths_and_their_codes() -> None:
    packed = replace(load_preset("bitfusion_like"), weight_storage=Storage.PACKED)
    tensors = (TensorInfo("x", 384, 8), TensorInfo("y", 256, 8))
    work = Workload("w", (linear(((1, 32), (4, 16), (8, 16))),), tensors, ("x",), ("y",))
    found = estimate_workload(work, packed, include_constants=False)
    assert found.weight_bytes == (96 * (32 + 4 * 16 + 8 * 16) + 2 * 64) // 8
    boxes = replace(packed, weight_storage=Storage.CONTAINER)
    assert estimate_workload(work, boxes, include_constants=False).weight_bytes == 96 * 64


def test_an_eight_bit_array_gains_nothing_and_says_so() -> None:
    mixed, wide = (report(op, "edge_systolic_8b") for op in (linear(((1, 32), (8, 32))), linear()))
    assert "1 bit as 8" in mixed.layers[0].warnings[0]
    assert mixed.layers[0].energy.mac_pj == pytest.approx(wide.layers[0].energy.mac_pj)


def test_bit_fusion_computes_one_bit_as_two() -> None:
    mixed = report(linear(((1, 32), (2, 32)), bits=2), "bitfusion_like")
    assert "1 bit as 2" in mixed.layers[0].warnings[0]


def test_one_group_is_the_op_itself_and_groups_must_cover_it() -> None:
    assert split_op_by_width(linear()) == (linear(),)
    with pytest.raises(ValueError, match="must cover 64 output channels"):
        linear(((1, 32), (8, 31)))
    with pytest.raises(ValueError, match="at most 8 bits, got 64 of at most 4"):
        linear(((1, 32), (4, 32)))
