"""What a machine consists of beside its array: memories, stages around it, energies."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Storage(StrEnum):
    """How narrow values lie in memory: in 8/16/32-bit cells, bit by bit, or entropy-coded."""

    CONTAINER = "container"
    PACKED = "packed"
    ENTROPY = "entropy"


class Spill(StrEnum):
    """When an activation goes through DRAM: where it finds no room on chip, always, or never."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Requant(StrEnum):
    """How an accumulator becomes an output: integer multiplier, shift, or at no cost."""

    MULTIPLY = "mul32"
    SHIFT = "shift"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffers:
    """On-chip buffers in bytes; `unified`: weights and inputs share one store.

    `resident_activation_bytes` is what may keep activations between ops.
    """

    weight_bytes: int
    input_bytes: int
    output_bytes: int
    resident_activation_bytes: int
    unified: bool
    double_buffer: bool

    def __post_init__(self) -> None:
        if min(self.weight_bytes, self.input_bytes, self.output_bytes) < 1:
            raise ValueError("buffers must hold at least 1 byte each, got 0; correct the sizes")
        if self.unified and self.weight_bytes != self.input_bytes:
            raise ValueError(
                "buffers.weight_bytes must equal buffers.input_bytes in a unified store, got "
                f"{self.weight_bytes} and {self.input_bytes}; write the store's size twice"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dram:
    """External memory: width in bits per clock cycle, energies in pJ per bit."""

    bits_per_cycle: float
    read_pj_per_bit: float
    write_pj_per_bit: float

    def __post_init__(self) -> None:
        if self.bits_per_cycle <= 0:
            raise ValueError("dram.bits_per_cycle must be above 0, got 0; correct it")


@dataclass(frozen=True, slots=True, kw_only=True)
class SramPrice:
    """Measured buffer energies in pJ per bit."""

    weight_read_pj_per_bit: float
    weight_write_pj_per_bit: float
    input_read_pj_per_bit: float
    input_write_pj_per_bit: float
    output_read_pj_per_bit: float
    output_write_pj_per_bit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sram:
    """Buffers' port width in bits per cycle (absent: never the limit) and energies.

    Without `price` the energies follow from the buffers' sizes (`energy.sram_pj_per_bit`).
    """

    bits_per_cycle: float | None
    price: SramPrice | None

    def __post_init__(self) -> None:
        if self.bits_per_cycle is not None and self.bits_per_cycle <= 0:
            raise ValueError("sram.bits_per_cycle must be above 0, got 0; correct it or drop it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """The stages around the array; rates in cycles per element, absent ones follow the array.

    Without `vector_ops_per_element` softmax, layer norm and GELU run on the host.
    """

    cycles_per_output: float
    cycles_per_element: float | None
    weights_per_cycle: float | None
    vector_ops_per_element: float | None
    requant: Requant

    def __post_init__(self) -> None:
        if self.weights_per_cycle is not None and self.weights_per_cycle <= 0:
            raise ValueError("post.weights_per_cycle must be above 0, got 0; correct or drop it")


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedMac:
    """MAC energy k2*w*a + k1*sqrt(w*a) + kacc*accumulator + k0 in pJ, widths in bits."""

    kind: Literal["fitted"] = "fitted"
    k2_pj_per_bit2: float
    k1_pj_per_bit: float
    accumulator_pj_per_bit: float
    k0_pj: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleMac:
    """Energy in pJ of one PE cycle, whatever it multiplies in it."""

    kind: Literal["per_cycle"] = "per_cycle"
    pj_per_pe_cycle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineEnergy:
    """Energies on chip but outside the buffers, at the machine's technology."""

    mac: FittedMac | CycleMac
    weight_register_pj_per_bit: float
    input_register_pj_per_bit: float
    accumulator_register_pj_per_bit: float
    noc_pj_per_bit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatUnit:
    """Single-precision MACs: how many a PE completes in a cycle, and pJ of one."""

    macs_per_pe_cycle: float
    pj_per_mac: float

    def __post_init__(self) -> None:
        if self.macs_per_pe_cycle <= 0:
            raise ValueError("float_unit.macs_per_pe_cycle must be above 0, got 0; correct it")
