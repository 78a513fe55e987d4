"""Parts of a machine beside the array: memories, stages around the array, energies."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, NewType


class Storage(StrEnum):
    """How narrow values lie in memory: in 8/16/32-bit cells, bit by bit, or entropy-coded."""

    CONTAINER = "container"
    PACKED = "packed"
    ENTROPY = "entropy"


class Spill(StrEnum):
    """When an activation goes through DRAM: without room on chip, always, or never."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Residency(StrEnum):
    """Weights on chip between inferences: as many as fit, the whole network, or nothing."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Requant(StrEnum):
    """The way from accumulator to output: integer multiplier, shift, or at no cost."""

    MULTIPLY = "mul32"
    SHIFT = "shift"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffers:
    """On-chip buffers in bytes; `unified`: weights and inputs share one store.

    `resident_activation_bytes` is the room for activations between ops.
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
    """Energy in pJ of one PE cycle, independent of the operands."""

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
    """Single-precision MACs: MACs of a PE in a cycle, and pJ of a MAC."""

    macs_per_pe_cycle: float
    pj_per_mac: float

    def __post_init__(self) -> None:
        if self.macs_per_pe_cycle <= 0:
            raise ValueError("float_unit.macs_per_pe_cycle must be above 0, got 0; correct it")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightMemory:
    """Memory that holds weights for good, such as flash or a second-level SRAM.

    Without `bits_per_cycle` the memory never limits the speed. Weights are loaded into the memory
    at boot and not for each inference.
    """

    size_bytes: int
    read_pj_per_bit: float
    bits_per_cycle: float | None

    def __post_init__(self) -> None:
        if self.size_bytes < 1 or (self.bits_per_cycle is not None and self.bits_per_cycle <= 0):
            raise ValueError(
                "weight_memory.size_bytes and bits_per_cycle must be above 0, got 0; correct them"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheads:
    """Costs of an inference beside arithmetic and memory.

    Times add to each layer or to each inference; the times of an inference are spread evenly over
    the layers. `pj_per_cycle` is spent in every clock cycle of computing: clock tree, instruction
    fetch, cores beside the array.
    """

    cycles_per_layer: float = 0.0
    s_per_inference: float = 0.0
    pj_per_inference: float = 0.0
    pj_per_cycle: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MacCosts:
    """Costs of a MAC beside the array's: clock cycles and pJ, by kind of layer.

    A fit gives them to a machine of another structure than the measured board's. Separable layers
    are depthwise and 1x1 convolutions, dense layers the other convolutions.
    """

    dense_cycles: float = 0.0
    separable_cycles: float = 0.0
    linear_cycles: float = 0.0
    dense_pj: float = 0.0
    separable_pj: float = 0.0
    linear_pj: float = 0.0

    def scale_energy(self, factor: float) -> "MacCosts":
        """Return the costs with energies times `factor`."""
        return replace(
            self,
            dense_pj=self.dense_pj * factor,
            separable_pj=self.separable_pj * factor,
            linear_pj=self.linear_pj * factor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Factors on parts of the estimate, fitted to measurements; 1 without a fit."""

    compute_time: float = 1.0
    memory_time: float = 1.0
    fixed_time: float = 1.0
    compute_energy: float = 1.0
    memory_energy: float = 1.0
    cycle_energy: float = 1.0
    static_energy: float = 1.0
    fixed_energy: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Another clock and supply voltage of the chip, by name."""

    name: str
    clock_hz: float
    supply_v: float

    def __post_init__(self) -> None:
        if self.clock_hz <= 0 or self.supply_v <= 0:
            raise ValueError("points.clock_hz and points.supply_v must be above 0; correct them")


Signed = NewType("Signed", float)
"""A number of a machine file that may be negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitError:
    """Distance of a fitted machine from measurements of a quantity, energy or latency.

    `mean_error` and `worst_error` are shares of the measured value, for networks unseen by the fit.
    `scales` names the fitted factors; `covariance`, row by row, belongs to the factors' logarithms;
    `noise` is the standard deviation of the logarithm of the rest, known with `freedom` degrees of
    freedom.
    """

    networks: int
    mean_error: float | None
    worst_error: float | None
    noise: float
    freedom: float
    scales: tuple[str, ...]
    covariance: tuple[Signed, ...]

    def __post_init__(self) -> None:
        if len(self.covariance) != len(self.scales) ** 2:
            raise ValueError(
                f"fit.covariance must have {len(self.scales) ** 2} numbers for "
                f"{len(self.scales)} scales, got {len(self.covariance)}; correct it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFit:
    """Distance of a machine's estimates from measurements; None without measurements.

    `base` names the machine that a fit to one's own board began with; "" for shipped machines.
    """

    energy: FitError | None
    latency: FitError | None
    base: str = ""
