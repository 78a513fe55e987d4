"""From requested widths to stored widths and computed widths."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from accelerator.machine import Machine, Storage
from accelerator.modes import Mode
from accelerator.workload import FLOAT_BITS, GEMM_KINDS, Op, OpKind, split_op_by_width

CODING_OVERHEAD = 1.05
"""Coded over entropy: Arm Vela 5.2.0 codes int8 weights 1 to 8 % above it (our runs)."""

_CONTAINERS = (8, 16, FLOAT_BITS)


@dataclass(frozen=True, slots=True)
class Widths:
    """An op on a machine: computed and stored bits, MACs a PE and cycle, parts."""

    weight: int
    activation: int
    rate: float
    weight_parts: int
    activation_parts: int
    accumulator: int
    stored_weight: float
    stored_input: int
    stored_output: int
    on_host: bool
    warnings: tuple[str, ...]

    @property
    def passes(self) -> int:
        """Runs of the array: the parts of one operand meet the parts of the other."""
        return self.weight_parts * self.activation_parts


@dataclass(frozen=True, slots=True)
class Choice:
    """A mode, and the number of parts that an operand is cut into for the mode."""

    mode: Mode
    weight_parts: int = 1
    activation_parts: int = 1

    @property
    def passes(self) -> int:
        """Times the array runs."""
        return self.weight_parts * self.activation_parts


ModeChooser = Callable[[Op], Choice]


def choose_widths(op: Op, machine: Machine, choose_mode: ModeChooser | None = None) -> Widths:
    """Choose the cheapest mode at least as wide as asked, or several passes of a narrower mode.

    Work impossible on the machine (float, or wide integers without decomposition) is priced as
    passes nevertheless and marked `on_host` with a warning.
    """
    choice = (choose_mode or make_mode_chooser(machine))(op)
    mode = choice.mode
    asked = op.accumulator_bits
    return Widths(
        weight=mode.weight_bits,
        activation=mode.activation_bits,
        rate=_mode_rate(mode, op.kind is OpKind.LINEAR),
        weight_parts=choice.weight_parts,
        activation_parts=choice.activation_parts,
        accumulator=min(asked, machine.accumulator_bits or asked),
        stored_weight=_stored_weight_bits(op, machine),
        stored_input=stored_activation_bits(op.activation_bits, machine),
        stored_output=stored_activation_bits(op.output_bits, machine),
        on_host=not _supports_passes(op, machine, choice.passes),
        warnings=_explain_choice(op, machine, choice),
    )


def make_mode_chooser(machine: Machine) -> ModeChooser:
    """Return a function that chooses an op's mode and remembers widths."""
    modes = machine.listed_modes
    seen: dict[tuple[int, int, bool], Choice] = {}

    def choose_for_op(op: Op) -> Choice:
        linear = op.kind is OpKind.LINEAR
        key = (_operand_bits(op), op.activation_bits, linear)
        if key not in seen:
            float_mode = _float_mode_of(machine) if op.is_float else None
            seen[key] = Choice(float_mode) if float_mode else _choose_cheapest_mode(modes, *key)
        return seen[key]

    return choose_for_op


def stored_activation_bits(bits: int, machine: Machine) -> int:
    """Return the bits of one activation of `bits` in the machine's memory."""
    return bits if machine.activation_storage is Storage.PACKED else _container_bits(bits)


def _operand_bits(op: Op) -> int:
    """Width of the second operand; the width of the activations without a second operand."""
    return op.weight_bits if op.kind in GEMM_KINDS or op.multiply else op.activation_bits


def _float_mode_of(machine: Machine) -> Mode | None:
    if machine.float_unit is None:
        return None
    return Mode(
        weight_bits=FLOAT_BITS,
        activation_bits=FLOAT_BITS,
        macs_per_pe_cycle=machine.float_unit.macs_per_pe_cycle,
    )


def _choose_cheapest_mode(
    modes: tuple[Mode, ...], weight: int, activation: int, linear: bool
) -> Choice:
    """Take the fewest cycles per MAC, then the narrowest operands.

    An operand wider than every mode is cut into parts of the widest; others are rounded up.
    """
    least_w = min(weight, max(mode.weight_bits for mode in modes))
    least_a = min(activation, max(mode.activation_bits for mode in modes))
    wide = [m for m in modes if m.weight_bits >= least_w and m.activation_bits >= least_a]

    def price_of_choice(choice: Choice) -> tuple[float, int]:
        mode, passes = choice.mode, choice.passes
        return passes / _mode_rate(mode, linear), passes * mode.weight_bits * mode.activation_bits

    cut = (
        Choice(m, math.ceil(weight / m.weight_bits), math.ceil(activation / m.activation_bits))
        for m in wide or modes
    )
    return min(cut, key=price_of_choice)


def _mode_rate(mode: Mode, linear: bool) -> float:
    return (linear and mode.macs_per_pe_cycle_linear) or mode.macs_per_pe_cycle


def _supports_passes(op: Op, machine: Machine, passes: int) -> bool:
    if op.kind is OpKind.VECTOR and machine.post.vector_ops_per_element is None:
        return False
    if op.is_float:
        return machine.float_unit is not None
    return passes == 1 or machine.decompose or op.kind not in GEMM_KINDS


def _stored_weight_bits(op: Op, machine: Machine) -> float:
    """Bits of an element of the second operand in memory; in a matmul an activation.

    Channels of several widths: the mean over the weights, with the codes of the widths.
    """
    if op.weight_groups:
        held = sum(
            part.shape_weights * _stored_weight_bits(part, machine)
            for part in split_op_by_width(op)
        )
        return (held + bits_of_width_codes(op, machine)) / op.shape_weights
    if op.kind is OpKind.MATMUL:
        return stored_activation_bits(op.weight_bits, machine)
    container = _container_bits(op.weight_bits)
    if machine.weight_storage is Storage.CONTAINER or op.weight_bits >= FLOAT_BITS:
        return container
    if machine.weight_storage is Storage.PACKED:
        return op.weight_bits
    # Entropy never exceeds the width, so the width stands in for a missing measurement.
    entropy = op.weight_bits if op.weight_entropy is None else op.weight_entropy
    return min(container, CODING_OVERHEAD * entropy)


def bits_of_width_codes(op: Op, machine: Machine) -> int:
    """Return the bits that tell the width of each channel; 0 for equal storage.

    A code has the 2 bits of four widths, or more bits for more widths.
    """
    if len(op.weight_groups) < 2 or machine.weight_storage is Storage.CONTAINER:
        return 0
    each = max(2, math.ceil(math.log2(len(op.weight_groups))))
    return each * sum(columns for _, columns in op.weight_groups)


def _container_bits(bits: int) -> int:
    return next(size for size in _CONTAINERS if size >= bits)


def _explain_choice(op: Op, machine: Machine, choice: Choice) -> tuple[str, ...]:
    """Say where the machine does something else than was asked."""
    mode, passes = choice.mode, choice.passes
    if not _supports_passes(op, machine, passes):
        if op.kind is OpKind.VECTOR and not op.is_float:
            return ("host: this machine has no vector unit; priced as if it had one",)
        what = "float" if op.is_float else f"{op.weight_bits} x {op.activation_bits} bit"
        return (f"host: this machine has no {what} unit; its cost is a rough stand-in",)
    if op.kind not in GEMM_KINDS or op.is_float:
        return ()
    asked = f"{op.weight_bits} x {op.activation_bits} bit"
    has = f"{mode.weight_bits} x {mode.activation_bits} bit"
    warnings = []
    if passes > 1:
        warnings.append(f"{asked} takes {passes} passes of {has} multiplications")
    elif (mode.weight_bits, mode.activation_bits) != (op.weight_bits, op.activation_bits):
        warnings.append(f"{asked} asked, computed as {has}")
    stored = _stored_weight_bits(op, machine)
    if stored > op.weight_bits:
        warnings.append(f"weights of {op.weight_bits} bit are stored in {stored:g} bit")
    kept = stored_activation_bits(op.activation_bits, machine)
    if kept > op.activation_bits:
        warnings.append(f"activations of {op.activation_bits} bit are stored in {kept} bit")
    return tuple(warnings)
