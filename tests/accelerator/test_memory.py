"""Activation memory, residency and weight size, counted by hand."""

from dataclasses import replace

import pytest

from accelerator import Op, OpKind, TensorInfo, Workload, estimate_workload, load_preset
from accelerator.machine import Residency, Spill
from accelerator.memory import choose_resident_activations, find_tensor_lifetimes
from tests.accelerator.networks import Chain, alone, linear, mobilenet_v2, resnet18

EDGE = load_preset("edge_systolic_8b")


def test_peak_of_resnet18() -> None:
    report = estimate_workload(resnet18(), EDGE)
    assert report.peak_activation_bytes == 802_816 + 200_704
    assert report.peak_activation_step == "op1"  # the max pool
    assert report.peak_tensors == ("t0", "t1")


def test_peak_of_mobilenet_v2() -> None:
    report = estimate_workload(mobilenet_v2(), EDGE)
    assert report.peak_activation_bytes == 1_204_224 + 301_056
    assert report.peak_activation_step == "op4"  # the first depthwise of stride 2


def test_peak_of_packed_4_bit_is_half() -> None:
    packed = load_preset("horowitz45_generic")
    assert estimate_workload(resnet18(4), packed).peak_activation_bytes == 1_003_520 // 2
    assert estimate_workload(resnet18(4), EDGE).peak_activation_bytes == 1_003_520


def residual() -> Workload:
    net = Chain(16, 8)
    skip = net.conv(16)
    net.conv(16)
    net.add(skip)
    return net.build("residual")


def test_a_sum_may_overwrite_an_input() -> None:
    size = 16 * 8 * 8
    assert estimate_workload(residual(), EDGE).peak_activation_bytes == 3 * size
    in_place = estimate_workload(residual(), replace(EDGE, eltwise_in_place=True))
    assert in_place.peak_activation_bytes == 2 * size


def test_lifetimes_reach_the_last_consumer() -> None:
    lives = {life.name: (life.first, life.last) for life in find_tensor_lifetimes(residual(), EDGE)}
    assert lives == {"input": (0, 0), "t0": (0, 2), "t1": (1, 2), "t2": (2, 2)}


def test_short_lived_tensors_stay_on_chip_first() -> None:
    net, size = residual(), 16 * 8 * 8
    lives = find_tensor_lifetimes(net, EDGE)

    def residents(room: int, spill: Spill = Spill.AUTO) -> frozenset[str]:
        buffers = replace(EDGE.buffers, resident_activation_bytes=room)
        machine = replace(EDGE, buffers=buffers, activation_spill=spill)
        return choose_resident_activations(net, machine, lives)

    assert residents(2 * size) == {"t0", "t1"}
    assert residents(size) == {"t1"}
    assert residents(size - 1) == frozenset()
    assert residents(size - 1, Spill.NEVER) == {"t0", "t1"}
    assert residents(2 * size, Spill.ALWAYS) == frozenset()


def test_residents_cross_no_dram_and_borders_do() -> None:
    bits = 16 * 8 * 8 * 8
    kept = estimate_workload(residual(), EDGE).layers
    assert [layer.dram_input_bits for layer in kept] == [bits, 0, 0]
    assert [layer.dram_output_bits for layer in kept] == [0, 0, bits]
    spilled = estimate_workload(residual(), replace(EDGE, activation_spill=Spill.ALWAYS)).layers
    assert [layer.dram_input_bits for layer in spilled] == [bits, bits, 2 * bits]
    assert [layer.dram_output_bits for layer in spilled] == [bits] * 3


def test_never_spilling_says_when_it_cannot_hold() -> None:
    machine = replace(EDGE, activation_spill=Spill.NEVER)
    assert not any("on chip" in note for note in estimate_workload(resnet18(), machine).notes)
    small = replace(machine, buffers=replace(EDGE.buffers, resident_activation_bytes=1000))
    assert any(
        "1003520 bytes on chip" in note for note in estimate_workload(resnet18(), small).notes
    )


def test_weights_weigh_bits_scales_and_biases() -> None:
    net = alone(replace(linear("fc", 64, 10, w=4), bias_elements=10))
    packed = load_preset("horowitz45_generic")
    assert estimate_workload(net, packed, include_constants=False).weight_bytes == 320
    assert estimate_workload(net, packed).weight_bytes == 320 + 40 + 40
    assert estimate_workload(net, EDGE, include_constants=False).weight_bytes == 640


def test_float_weights_have_no_scales() -> None:
    net = alone(replace(linear("fc", 64, 10, w=32, a=32), bias_elements=10))
    assert estimate_workload(net, EDGE).weight_bytes == 2560 + 40


def test_resident_weights_cross_no_dram_where_they_fit() -> None:
    net = alone(linear("fc", 64, 10))
    kept = estimate_workload(net, replace(EDGE, weights_resident=Residency.AUTO))
    assert kept.layers[0].dram_weight_bits == 0
    assert estimate_workload(net, EDGE).layers[0].dram_weight_bits == 5120
    large = estimate_workload(resnet18(), replace(EDGE, weights_resident=Residency.AUTO))
    assert any("do not fit on chip" in note for note in large.notes)
    assert large.layers[0].dram_weight_bits == 64 * 147 * 8


def test_both_operands_of_a_matmul_are_activations() -> None:
    tensors = tuple(TensorInfo(name, 320, 8) for name in ("x", "q", "k"))
    scores = TensorInfo("s", 100, 8)
    relu = [Op(name, OpKind.VECTOR, ("x",), name) for name in ("q", "k")]
    product = Op("qk", OpKind.MATMUL, ("q", "k"), "s", batch=10, c_in=32, c_out=10)
    net = Workload("attention", (*relu, product), (*tensors, scores), ("x",), ("s",))
    kept = estimate_workload(net, EDGE).layers[-1]
    assert (kept.dram_weight_bits, kept.dram_input_bits, kept.dram_output_bits) == (0, 0, 800)
    spilled = estimate_workload(net, replace(EDGE, activation_spill=Spill.ALWAYS))
    assert (spilled.layers[-1].dram_weight_bits, spilled.layers[-1].dram_input_bits) == (0, 5120)
    assert spilled.weight_bytes == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"inputs": ("nowhere",)}, "'nowhere' must be listed in tensors"),
        ({"inputs": ("fc.out",)}, "'fc.out' must be produced before op 'fc'"),
        ({"output": "fc.in"}, "op 'fc' must produce a new tensor"),
    ],
)
def test_workloads_are_checked(change: dict[str, object], sentence: str) -> None:
    op = linear("fc", 64, 10)
    good = alone(op)
    values = {name: getattr(op, name) for name in Op.__dataclass_fields__} | change
    with pytest.raises(ValueError, match=sentence):
        replace(good, ops=(Op(**values),))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": OpKind.CONV, "groups": 3}, "groups must divide c_in and c_out, got 3"),
        ({"c_in": 0}, "c_in must be 1 or more, got 0"),
        ({"weight_bits": 33}, r"weight_bits must lie in 1..32 \(32 is float\), got 33"),
        ({"weight_elements": 5}, "weight_elements must be 640 for its shape, got 5"),
        ({"weight_entropy": -1.0}, "weight_entropy must lie in 0..32"),
        ({"inputs": ()}, "must have an input"),
    ],
)
def test_ops_are_checked(change: dict[str, object], sentence: str) -> None:
    op = linear("fc", 64, 10)
    values = {name: getattr(op, name) for name in Op.__dataclass_fields__} | change
    with pytest.raises(ValueError, match=sentence):
        Op(**values)
