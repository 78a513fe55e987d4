"""The operand widths of a machine's multipliers, and the speed at each width."""

from dataclasses import dataclass
from enum import StrEnum

from accelerator.workload import FLOAT_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Operand widths of a PE, and the MACs of a PE in a cycle at the widths.

    `macs_per_pe_cycle_linear` replaces the rate in linear layers if different (Loom).
    """

    weight_bits: int
    activation_bits: int
    macs_per_pe_cycle: float
    macs_per_pe_cycle_linear: float | None = None

    def __post_init__(self) -> None:
        for name, bits in (("weight", self.weight_bits), ("activation", self.activation_bits)):
            if not 1 <= bits <= FLOAT_BITS:
                raise ValueError(
                    f"modes.{name}_bits must lie in 1..{FLOAT_BITS}, got {bits}; correct it"
                )
        if min(self.macs_per_pe_cycle, self.macs_per_pe_cycle_linear or 1.0) <= 0:
            raise ValueError("modes.macs_per_pe_cycle must be above 0, got 0; correct it")


class Family(StrEnum):
    """Rules for modes: see `generate_family_modes`."""

    PAIRS = "pairs"
    FUSION = "fusion"
    SERIAL_ACTIVATIONS = "serial_a"
    SERIAL_BOTH = "serial_ab"
    SERIAL_WEIGHTS = "serial_w"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeFamily:
    """A family of modes between two widths in bits."""

    family: Family
    narrowest_bits: int
    widest_bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.narrowest_bits <= self.widest_bits <= FLOAT_BITS:
            raise ValueError(
                "mode_family widths must satisfy 1 <= narrowest_bits <= widest_bits <= "
                f"{FLOAT_BITS}, got {self.narrowest_bits} and {self.widest_bits}; correct them"
            )


def generate_family_modes(rule: ModeFamily) -> tuple[Mode, ...]:
    """List a family's modes.

    pairs: doubled widths, one MAC a cycle; fusion: (p/w)(p/a) as in BitFusion (ISCA'18); serial_a:
    p/a as in Stripes (MICRO'16); serial_ab: p^2/(wa), linear p/w, as in Loom (2018); serial_w: p/w
    as in the engine RBE (Marsellus) and the kin NE16, activations at the widest.
    """
    top, low = rule.widest_bits, rule.narrowest_bits
    doubled = [low << i for i in range(6) if low << i <= top]
    every = range(low, top + 1)

    def make_mode(w: int, a: int, rate: float, linear: float | None = None) -> Mode:
        return Mode(
            weight_bits=w,
            activation_bits=a,
            macs_per_pe_cycle=rate,
            macs_per_pe_cycle_linear=linear,
        )

    match rule.family:
        case Family.PAIRS:
            return tuple(make_mode(w, a, 1.0) for w in doubled for a in doubled)
        case Family.FUSION:
            return tuple(make_mode(w, a, top / w * top / a) for w in doubled for a in doubled)
        case Family.SERIAL_ACTIVATIONS:
            return tuple(make_mode(top, a, top / a) for a in every)
        case Family.SERIAL_WEIGHTS:
            return tuple(make_mode(w, top, top / w) for w in every)
        case Family.SERIAL_BOTH:
            return tuple(
                make_mode(w, a, top * top / (w * a), top / w) for w in every for a in every
            )
