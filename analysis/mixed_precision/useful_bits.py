"""Which widths a machine makes something of, and what fewer bits bring there."""

from collections.abc import Iterable

from accelerator.machine import Machine, Storage
from accelerator.widths import store_activation
from accelerator.workload import FLOAT_BITS
from analysis.mixed_precision.choices import Rules
from quant.simulation.plan import Side

NARROW, USUAL, WIDE = 2, 8, 16  # integers that a quantizer knows


def computed_bits(machine: Machine, side: Side) -> tuple[int, ...]:
    """Return the widths of one operand that the machine multiplies as such, widest first."""
    modes = machine.all_modes
    weights = side is Side.WEIGHTS
    found = {mode.weight_bits if weights else mode.activation_bits for mode in modes}
    return tuple(sorted((bits for bits in found if NARROW <= bits <= WIDE), reverse=True))


def useful_bits(machine: Machine, side: Side, offered: Iterable[int]) -> tuple[int, ...]:
    """Return those widths that the machine computes with, or that need less room than wider ones.

    Others cost what the next wider one costs and are less exact. The widest offered is kept.
    """
    kept: list[int] = []
    computed = computed_bits(machine, side)
    for bits in sorted(set(offered), reverse=True):
        saves = not kept or _room(machine, side, bits) < _room(machine, side, kept[-1])
        if saves or bits in computed:
            kept.append(bits)
    return tuple(kept)


def _room(machine: Machine, side: Side, bits: int) -> float:
    """Return how much room a value of some bits takes, compressed or not: for comparison only."""
    if side is Side.ACTIVATIONS:
        return store_activation(bits, machine)
    if machine.weight_storage is Storage.CONTAINER:
        return next(size for size in (8, 16, FLOAT_BITS) if size >= bits)
    return bits


def useful_rules(machine: Machine, rules: Rules) -> Rules:
    """Return the rules with only the widths on offer that are of use on the machine."""
    return Rules(
        useful_bits(machine, Side.WEIGHTS, rules.bits),
        rules.pins,
        rules.edge_bits,
        rules.together,
        rules.granularities,
        useful_bits(machine, Side.ACTIVATIONS, rules.activation_bits or rules.bits),
    )


def explain_gains(machine: Machine) -> str:
    """Say in one sentence what fewer bits bring on a machine."""
    said = [_explain(machine, side) for side in (Side.WEIGHTS, Side.ACTIVATIONS)]
    if said[0] == said[1]:
        return f"On {machine.name}, weights and activations are {said[0]}."
    return f"On {machine.name}, weights are {said[0]}; activations are {said[1]}."


def _explain(machine: Machine, side: Side) -> str:
    widths = computed_bits(machine, side)
    least = min(widths, default=WIDE)
    if len(widths) > 1 and least < min(USUAL, max(widths)):
        listed = ", ".join(map(str, sorted(widths)))
        return f"multiplied at {listed} bits: fewer bits save arithmetic"
    if useful_bits(machine, side, range(NARROW, least + 1)) != (least,):
        return f"multiplied at {least} bits or more: fewer bits gain only what storage gives"
    return (
        f"multiplied at {least} bits or more and stored in whole bytes: fewer bits gain only what "
        "storage gives, which is nothing"
    )
