"""Lifetimes of activations, activations with room on chip, and the size of weights."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from accelerator.machine import Machine, Spill
from accelerator.widths import stored_activation_bits
from accelerator.workload import FLOAT_BITS, WEIGHT_KINDS, Op, OpKind, Workload

SCALE_BYTES = 4
BIAS_BYTES = 4


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A tensor of `bits`, alive from the step `first` to the step `last`, both included."""

    name: str
    bits: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest activation memory in use at once: bytes, the running op, the live tensors."""

    size_bytes: int
    step: str
    tensors: tuple[str, ...]


def find_tensor_lifetimes(workload: Workload, machine: Machine) -> tuple[Lifetime, ...]:
    """Return the lifetimes of used tensors, from producer to last consumer, in steps."""
    first = dict.fromkeys(workload.inputs, 0)
    last = dict.fromkeys(workload.inputs, 0)
    for step, op in enumerate(workload.ops):
        first[op.output] = last[op.output] = step
        last.update(dict.fromkeys(op.inputs, step))
    last.update(dict.fromkeys(workload.outputs, len(workload.ops) - 1))
    return tuple(
        Lifetime(
            tensor.name,
            tensor.elements * stored_activation_bits(tensor.bits, machine),
            first[tensor.name],
            last[tensor.name],
        )
        for tensor in workload.tensors
        if tensor.name in first
    )


def find_peak(workload: Workload, machine: Machine, lives: tuple[Lifetime, ...]) -> Peak:
    """Return the step with the most bytes of live activations, the first of equals."""
    use = _sum_over_steps(lives, len(workload.ops))
    if machine.eltwise_in_place:
        for step, op in enumerate(workload.ops):
            use[step] -= bits_saved_in_place(op, step, lives)
    step = max(range(len(use)), key=use.__getitem__)
    alive = [life for life in lives if life.first <= step <= life.last]
    alive.sort(key=lambda life: -life.bits)
    return Peak(
        math.ceil(use[step] / 8), workload.ops[step].name, tuple(life.name for life in alive)
    )


def choose_resident_activations(
    workload: Workload, machine: Machine, lives: tuple[Lifetime, ...]
) -> frozenset[str]:
    """Return the activations that never go through DRAM.

    The network's inputs and outputs go through DRAM unless the machine keeps the borders on chip.

    Tensors with the shortest lives are kept first, if the tensor fits for the whole life (as Vela's
    shared SRAM, ZigZag's exploit_data_locality). A greedy choice, not the best choice.
    """
    border = set() if machine.borders_on_chip else {*workload.inputs, *workload.outputs}
    inner = [life for life in lives if life.name not in border]
    if machine.activation_spill is Spill.ALWAYS:
        return frozenset()
    if machine.activation_spill is Spill.NEVER:
        return frozenset(life.name for life in inner)
    free = [8 * machine.buffers.resident_activation_bytes] * len(workload.ops)
    kept = []
    for life in sorted(inner, key=lambda life: (life.last - life.first, life.first)):
        steps = range(life.first, life.last + 1)
        if all(free[step] >= life.bits for step in steps):
            kept.append(life.name)
            for step in steps:
                free[step] -= life.bits
    return frozenset(kept)


def count_constant_bytes(op: Op) -> int:
    """Return bytes of a layer's scales and biases: 4 each per output channel, 0 for float."""
    if op.kind not in WEIGHT_KINDS:
        return 0
    scales = op.c_out if op.weight_bits < FLOAT_BITS else 0
    return SCALE_BYTES * scales + BIAS_BYTES * op.bias_elements


def _sum_over_steps(lives: Collection[Lifetime], steps: int) -> list[int]:
    change = [0] * (steps + 1)
    for life in lives:
        change[life.first] += life.bits
        change[life.last + 1] -= life.bits
    total, sums = 0, []
    for delta in change[:steps]:
        total += delta
        sums.append(total)
    return sums


def bits_saved_in_place(op: Op, step: int, lives: tuple[Lifetime, ...]) -> int:
    """Return bits saved by an elementwise op that overwrites an input without later readers."""
    if op.kind is not OpKind.ELTWISE:
        return 0
    by_name = {life.name: life for life in lives}
    output = by_name[op.output]
    dying = (by_name[name] for name in op.inputs if by_name[name].last == step)
    return output.bits if any(life.bits >= output.bits for life in dying) else 0
