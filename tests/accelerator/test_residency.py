"""Which weights stay on chip, against trying every subset."""

import random
from dataclasses import replace
from itertools import combinations

import pytest

from accelerator import CostReport, Machine, estimate_workload, load_preset, parse_machine
from accelerator.dram.residency import WeightBlock, choose_weight_blocks
from accelerator.machine import MACHINES, Residency
from accelerator.parts import WeightMemory
from accelerator.validation.networks import network_table

GAP9 = load_preset("gap9_ne16_like")


def best_of_all(blocks: list[WeightBlock], room: int) -> int:
    """Return the most bits that any subset in the room saves."""
    return max(
        sum(block.saved_bits for block in subset)
        for size in range(len(blocks) + 1)
        for subset in combinations(blocks, size)
        if sum(block.size_bits for block in subset) <= room
    )


@pytest.mark.parametrize("seed", range(40))
def test_no_subset_saves_more(seed: int) -> None:
    dice = random.Random(seed)
    blocks = []
    for number in range(dice.randint(1, 9)):
        size = dice.choice((8, 24, 64, 72, 100, 333)) * dice.randint(1, 4)
        blocks.append(WeightBlock(str(number), size, size * dice.choice((1, 1, 1, 2, 3))))
    room = dice.randint(0, sum(block.size_bits for block in blocks))
    chosen = [block for block in blocks if block.layer in choose_weight_blocks(blocks, room)]
    assert sum(block.size_bits for block in chosen) <= room
    assert sum(block.saved_bits for block in chosen) == best_of_all(blocks, room)


def on_room(kilobytes: float, bits: int = 8, machine: Machine = GAP9) -> CostReport:
    memory = WeightMemory(
        size_bytes=int(1024 * kilobytes), read_pj_per_bit=0.2, bits_per_cycle=None
    )
    return estimate_workload(network_table("vww", bits), replace(machine, weight_memory=memory))


def test_all_weights_stay_where_they_fit_and_cross_no_dram() -> None:
    report = on_room(256)
    assert report.dram_bits == 0
    assert report.energy.weight_memory_pj > 0
    assert any("All weights stay on chip" in note for note in report.notes)


def test_at_fewer_bits_more_weights_stay() -> None:
    """208112 weights: 203 KB at 8 bits, 102 KB at 4."""
    wide, narrow = on_room(110, 8), on_room(110, 4)
    assert wide.dram_bits > 0
    assert narrow.dram_bits == 0
    assert narrow.energy.dram_pj == 0
    assert any("fetched from DRAM" in note for note in wide.notes)


def test_the_subset_that_stays_is_the_cheapest_of_all() -> None:
    """Every subset of the ten layers of the auto-encoder, by their DRAM traffic."""
    network, room = network_table("ad"), 100_000
    machine = replace(
        GAP9, weight_memory=WeightMemory(size_bytes=room, read_pj_per_bit=0.0, bits_per_cycle=None)
    )
    sizes = [op.shape_weights for op in network.ops]
    fetched = min(
        sum(sizes) - sum(subset)
        for count in range(len(sizes) + 1)
        for subset in combinations(sizes, count)
        if sum(subset) <= room
    )
    assert estimate_workload(network, machine).dram_bits == 8 * fetched


def test_never_fetches_all_and_always_fetches_none() -> None:
    never = on_room(256, machine=replace(GAP9, weights_resident=Residency.NEVER))
    assert sum(layer.dram_weight_bits for layer in never.layers) >= 8 * 208_112
    always = on_room(1, machine=replace(GAP9, weights_resident=Residency.ALWAYS))
    assert always.dram_bits == 0
    assert any("Weights need" in note for note in always.notes)


def test_files_with_true_and_false_are_still_read() -> None:
    text = (MACHINES / "edge_systolic_8b.toml").read_text()
    old = text.replace('weights_resident = "never"', "weights_resident = true")
    assert parse_machine(old).weights_resident is Residency.AUTO
    old = text.replace('weights_resident = "never"', "weights_resident = false")
    assert parse_machine(old).weights_resident is Residency.NEVER
