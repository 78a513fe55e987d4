"""The helpful widths on a machine, and the gain from fewer bits."""

from collections.abc import Iterable

from accelerator.array import BitSerial
from accelerator.machine import Machine, Storage
from accelerator.widths import stored_activation_bits
from accelerator.workload import FLOAT_BITS
from analysis.mixed_precision.choices import Rules
from quant.simulation.plan import Side

SIDES = (Side.WEIGHTS, Side.ACTIVATIONS)
NARROW, USUAL, WIDE = 2, 8, 16  # narrowest, usual and widest integers of a quantizer


def directly_computed_bits(machine: Machine, side: Side) -> tuple[int, ...]:
    """Return the widths of one operand that the machine multiplies directly, widest first."""
    modes = machine.listed_modes
    weights = side is Side.WEIGHTS
    widths = {mode.weight_bits if weights else mode.activation_bits for mode in modes}
    return tuple(sorted((bits for bits in widths if NARROW <= bits <= WIDE), reverse=True))


def find_useful_bits(machine: Machine, side: Side, offered: Iterable[int]) -> tuple[int, ...]:
    """Return the widths with own arithmetic or with less storage than every wider width.

    Another width costs as much as the next wider width and is less exact. The widest width in
    `offered` always stays.
    """
    useful: list[int] = []
    computed = directly_computed_bits(machine, side)
    for bits in sorted(set(offered), reverse=True):
        saves = not useful or _storage_bits_per_value(
            machine, side, bits
        ) < _storage_bits_per_value(machine, side, useful[-1])
        if saves or bits in computed:
            useful.append(bits)
    return tuple(useful)


def _storage_bits_per_value(machine: Machine, side: Side, bits: int) -> float:
    """Return the storage of a value in bits, compressed or not; only for comparison."""
    if side is Side.ACTIVATIONS:
        return stored_activation_bits(bits, machine)
    if machine.weight_storage is Storage.CONTAINER:
        return next(size for size in (8, 16, FLOAT_BITS) if size >= bits)
    return bits


def machines_that_gain(machines: Iterable[Machine], offered: Iterable[int]) -> list[Machine]:
    """Return the machines that gain in computing or storage from fewer bits than 8.

    Machines with cheaper arithmetic for both operands come first.
    """
    bits = tuple(offered)
    gains = {
        machine: [
            min(find_useful_bits(machine, side, bits), default=USUAL) < USUAL for side in SIDES
        ]
        for machine in machines
    }
    computed = [
        machine
        for machine in gains
        if all(min(directly_computed_bits(machine, side), default=USUAL) < USUAL for side in SIDES)
    ]
    found = [machine for machine, sides in gains.items() if any(sides)]
    return sorted(found, key=lambda machine: machine not in computed)


def restrict_to_useful_bits(machine: Machine, rules: Rules) -> Rules:
    """Return the rules with only the widths that help on the machine."""
    return Rules(
        find_useful_bits(machine, Side.WEIGHTS, rules.bits),
        rules.pins,
        rules.edge_bits,
        rules.together,
        rules.granularities,
        find_useful_bits(machine, Side.ACTIVATIONS, rules.activation_bits or rules.bits),
    )


def explain_machine_gains(machine: Machine) -> str:
    """Return one sentence about the gain of fewer bits on a machine."""
    sides = [_explain_side_gains(machine, side) for side in (Side.WEIGHTS, Side.ACTIVATIONS)]
    if sides[0] == sides[1]:
        return f"On {machine.title}: weights and activations are {sides[0]}."
    return f"On {machine.title}: weights are {sides[0]}; activations are {sides[1]}."


def _explain_side_gains(machine: Machine, side: Side) -> str:
    widths = directly_computed_bits(machine, side)
    least = min(widths, default=WIDE)
    if len(widths) > 1 and least < min(USUAL, max(widths)):
        listed = ", ".join(map(str, sorted(widths)))
        if isinstance(machine.array, BitSerial) and side is Side.WEIGHTS:
            return (
                f"multiplied at {listed} bits: fewer bits save cycles in 3 x 3 kernels, but gain "
                "no cycles in 1 x 1 and linear layers, only memory and some energy"
            )
        return f"multiplied at {listed} bits: fewer bits save arithmetic"
    if find_useful_bits(machine, side, range(NARROW, least + 1)) != (least,):
        return f"multiplied at {least} bits or more: fewer bits gain only what storage gives"
    return (
        f"multiplied at {least} bits or more and stored in whole bytes: fewer bits gain only what "
        "storage gives, which is nothing"
    )
