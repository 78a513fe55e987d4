"""Bits across the DRAM border and accesses at the array, counted by hand."""

from dataclasses import replace

import pytest

from accelerator import LayerCost, Machine, Op, estimate_workload, load_preset, parse_machine
from accelerator.accesses import count_accesses
from accelerator.array import Spatial
from accelerator.machine import MACHINES, Spill
from accelerator.widths import choose_widths
from tests.accelerator.networks import alone, conv, linear

GENERIC = load_preset("horowitz45_generic")
NVDLA = load_preset("nvdla_full_like")
EDGE = load_preset("edge_systolic_8b")


def cost(op: Op, machine: Machine) -> LayerCost:
    return estimate_workload(alone(op), machine).layers[0]


def test_inputs_outer_streams_weights_again_and_rereads_the_halo() -> None:
    """36 tiles of weights and 2 of inputs: 2 Sw + Si (1 + 2/14) beats Sw + 36 Si."""
    layer = cost(conv("x", 256, 512, 14), GENERIC)
    assert layer.dram_weight_bits == 2 * 256 * 9 * 512 * 8
    assert layer.dram_input_bits == 256 * 14 * 14 * 8 * 16 // 14


def test_dilation_widens_the_halo() -> None:
    layer = cost(replace(conv("x", 256, 512, 14), dilation_h=2, dilation_w=2), GENERIC)
    assert layer.dram_input_bits == 256 * 14 * 14 * 8 * 18 // 14


def test_weights_outer_streams_inputs_again() -> None:
    """A unified store: 4 Mbit less a stripe of inputs leave 3 tiles of weights."""
    layer = cost(conv("x", 256, 512, 112), NVDLA)
    assert layer.dram_weight_bits == 256 * 9 * 512 * 8
    assert layer.dram_input_bits == 3 * 256 * 112 * 112 * 8


def test_groups_move_each_operand_once() -> None:
    layer = cost(conv("x", 512, 512, 112, groups=2), NVDLA)
    assert layer.dram_weight_bits == 256 * 9 * 512 * 8
    assert layer.dram_input_bits == 512 * 112 * 112 * 8


def test_a_depth_too_long_for_the_weight_buffer_is_split() -> None:
    """4608 x 32 weights in half of 64 KiB: 5 parts, 4 extra partial sums each way."""
    op = conv("x", 512, 512, 7)
    machine = replace(GENERIC, activation_spill=Spill.ALWAYS)
    roomy = replace(machine, buffers=replace(machine.buffers, weight_bytes=1 << 24))
    split, whole = cost(op, machine), cost(op, roomy)
    outputs = 512 * 49
    assert split.dram_output_bits == whole.dram_output_bits == outputs * 8
    traffic_through_buffers = (split.dram_weight_bits + split.dram_input_bits) - (
        whole.dram_weight_bits + whole.dram_input_bits
    )
    assert split.sram_bits - whole.sram_bits == 2 * outputs * 32 * 4 + traffic_through_buffers


def test_partial_sums_without_room_go_through_dram() -> None:
    op = conv("x", 512, 512, 7)
    cramped = replace(GENERIC, buffers=replace(GENERIC.buffers, output_bytes=4096))
    assert cost(op, cramped).dram_output_bits == 512 * 49 * (8 + 2 * 32 * 4)


def test_reuse_spares_buffer_reads() -> None:
    """NVDLA: a weight serves 16 positions, an input 32 output channels."""
    op = conv("x", 64, 64, 56)
    accesses = count_accesses(op, NVDLA, choose_widths(op, NVDLA))
    assert accesses.weights == op.macs / 16
    assert accesses.inputs == op.macs / 32
    assert (accesses.partial_writes, accesses.outputs) == (0, 64 * 56 * 56)


def test_an_unroll_wider_than_its_loop_spares_no_more_than_the_loop() -> None:
    op = conv("x", 64, 10, 56)
    assert count_accesses(op, NVDLA, choose_widths(op, NVDLA)).inputs == op.macs / 10


def test_accumulators_outside_the_array_exchange_partial_sums() -> None:
    array = NVDLA.array
    assert isinstance(array, Spatial)
    outside = replace(NVDLA, array=replace(array, accumulator_in_array=False))
    op = conv("x", 64, 64, 56)
    accesses = count_accesses(op, outside, choose_widths(op, outside))
    outputs = 64 * 56 * 56
    assert accesses.partial_writes == accesses.partial_reads == outputs * 9 - outputs


@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (4, 1), (5, 2), (197, 50)])
def test_rows_of_a_linear_layer_fill_the_plane_of_positions(rows: int, steps: int) -> None:
    machine = load_preset("ethos_u55_256_like")
    free = replace(machine, post=replace(machine.post, weights_per_cycle=None))
    cycles = estimate_workload(alone(linear("x", 64, 64, rows)), free).cycles
    assert cycles == steps * 8 * 4 * 2


def test_a_depthwise_unroll_must_fit_the_array() -> None:
    text = (MACHINES / "nvdla_full_like.toml").read_text()
    with pytest.raises(ValueError, match=r"array.depthwise must use at most the 2048 multipliers"):
        parse_machine(text.replace("channels = 32", "channels = 4096"))


def test_zigzag_buffer_reads_of_resnet18() -> None:
    """ZigZag 3.9.1 on resnet18_l1: 14112 reads of 256 bytes."""
    op = conv("x", 64, 64, 56)
    accesses = count_accesses(op, EDGE, choose_widths(op, EDGE))
    assert accesses.inputs == 14112 * 256
