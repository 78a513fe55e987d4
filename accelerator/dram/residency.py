"""Choose the layers whose weights stay on chip between inferences: the best subset, exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accelerator.machine import Machine
from accelerator.parts import Residency
from accelerator.widths import Widths
from accelerator.workload import WEIGHT_KINDS, Op


@dataclass(frozen=True, slots=True)
class WeightBlock:
    """The weights of one layer: bits as stored, and DRAM bits saved if the layer stays."""

    layer: str
    size_bits: int
    saved_bits: int


def count_stored_bits(op: Op, widths: Widths) -> int:
    """Return the bits of a layer's stored weights, without scales and biases."""
    if op.kind not in WEIGHT_KINDS and not op.table_elements:
        return 0
    return round(op.shape_weights * widths.stored_weight)


def keep_weights_on_chip(machine: Machine, blocks: Sequence[WeightBlock]) -> frozenset[str]:
    """Return the layers whose weights stay on chip.

    The whole network if the weights fit, or if the machine always keeps weights; else the subset
    that saves the most DRAM bits an inference (`choose_weight_blocks`).
    """
    if machine.weights_resident is Residency.NEVER:
        return frozenset()
    room = 8 * machine.weight_room_bytes
    fits = sum(block.size_bits for block in blocks) <= room
    if fits or machine.weights_resident is Residency.ALWAYS:
        return frozenset(block.layer for block in blocks)
    return choose_weight_blocks(blocks, room)


def choose_weight_blocks(blocks: Sequence[WeightBlock], room_bits: int) -> frozenset[str]:
    """Return the blocks that fit into a room and save the most bits: a knapsack, solved exactly.

    Blocks with equal savings per stored bit form a class. Within a class only the size matters, so
    a single number, with bit n set if n units can be filled, describes the subsets. The classes but
    the largest are walked as Pareto-optimal subsets of few blocks.

    >>> blocks = [WeightBlock("a", 60, 60), WeightBlock("b", 50, 50), WeightBlock("c", 50, 50)]
    >>> sorted(choose_weight_blocks(blocks, 100))
    ['b', 'c']
    """
    useful = [b for b in blocks if 0 < b.size_bits <= room_bits and b.saved_bits > 0]
    free = {block.layer for block in blocks if block.size_bits == 0}
    if not useful:
        return frozenset(free)
    unit = math.gcd(*(block.size_bits for block in useful))
    classes: dict[float, list[WeightBlock]] = {}
    for block in useful:
        classes.setdefault(block.saved_bits / block.size_bits, []).append(block)
    densest = max(classes, key=lambda ratio: len(classes[ratio]))
    alike = classes.pop(densest)
    others = [block for group in classes.values() for block in group]
    reach = _reachable_sums(alike, unit, room_bits // unit)
    best, best_value = _Subset(0, 0, ()), -1.0
    for subset in _pareto_subsets(others, room_bits):
        filled = _largest_sum(reach[-1], (room_bits - subset.size_bits) // unit) * unit
        value = subset.saved_bits + densest * filled
        if value > best_value:
            best, best_value = subset, value
    filled = _largest_sum(reach[-1], (room_bits - best.size_bits) // unit)
    return frozenset({*free, *best.layers, *_rebuild_choice(alike, reach, unit, filled)})


@dataclass(frozen=True, slots=True)
class _Subset:
    size_bits: int
    saved_bits: int
    layers: tuple[str, ...]


def _pareto_subsets(blocks: Sequence[WeightBlock], room_bits: int) -> list[_Subset]:
    """Return the subsets not beaten by a subset of smaller size and larger savings."""
    subsets = [_Subset(0, 0, ())]
    for block in blocks:
        grown = [
            _grow_subset(subset, block)
            for subset in subsets
            if subset.size_bits + block.size_bits <= room_bits
        ]
        merged = sorted([*subsets, *grown], key=lambda s: (s.size_bits, -s.saved_bits))
        subsets, most = [], -1
        for subset in merged:
            if subset.saved_bits > most:
                subsets.append(subset)
                most = subset.saved_bits
    return subsets


def _grow_subset(subset: _Subset, block: WeightBlock) -> _Subset:
    return _Subset(
        subset.size_bits + block.size_bits,
        subset.saved_bits + block.saved_bits,
        (*subset.layers, block.layer),
    )


def _reachable_sums(blocks: Sequence[WeightBlock], unit: int, room: int) -> list[int]:
    """Return the sums reachable after each block, one bit a sum in units."""
    mask = (1 << (room + 1)) - 1
    reach = [1]
    for block in blocks:
        reach.append((reach[-1] | (reach[-1] << (block.size_bits // unit))) & mask)
    return reach


def _largest_sum(reach: int, room: int) -> int:
    """Return the largest reachable sum of at most `room`."""
    return (reach & ((1 << (room + 1)) - 1)).bit_length() - 1


def _rebuild_choice(
    blocks: Sequence[WeightBlock], reach: Sequence[int], unit: int, filled: int
) -> list[str]:
    """Return blocks with sizes that add up to a reachable sum."""
    layers = []
    for number in range(len(blocks) - 1, -1, -1):
        if reach[number] >> filled & 1:
            continue
        layers.append(blocks[number].layer)
        filled -= blocks[number].size_bits // unit
    return layers
