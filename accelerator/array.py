"""The multiplier arrays a machine may have."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

LARGEST_SIDE = 65_536
KERNEL_TAPS = 9
"""Taps of the 3 x 3 kernel that a bit-serial engine is built for."""


class Dataflow(StrEnum):
    """The operand that a systolic array keeps in place: weights, outputs or inputs."""

    WEIGHTS = "ws"
    OUTPUTS = "os"
    INPUTS = "is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Systolic:
    """A grid of rows x columns PEs with operands flowing through (SCALE-Sim's machine).

    `pack_groups` puts several small groups on the array at once, block-diagonally (ours);
    `overlap_weight_load` loads the next stationary tile while the present tile streams (ours).
    """

    kind: Literal["systolic"] = "systolic"
    rows: int
    columns: int
    dataflow: Dataflow
    pack_groups: bool
    overlap_weight_load: bool
    accumulator_in_array: bool

    def __post_init__(self) -> None:
        check_array_sizes("array", rows=self.rows, columns=self.columns)

    @property
    def pe_count(self) -> int:
        """Processing elements."""
        return self.rows * self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Unroll:
    """Number of indices of each loop that a spatial array works on at once."""

    out_rows: int
    out_columns: int
    outputs: int
    depth: int

    def __post_init__(self) -> None:
        check_array_sizes(
            "array.unroll",
            out_rows=self.out_rows,
            out_columns=self.out_columns,
            outputs=self.outputs,
            depth=self.depth,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseUnroll:
    """The loops unrolled by a spatial array in a depthwise convolution, and cycles for one step."""

    out_rows: int
    out_columns: int
    channels: int
    taps: int
    cycles_per_step: int

    def __post_init__(self) -> None:
        check_array_sizes(
            "array.depthwise",
            out_rows=self.out_rows,
            out_columns=self.out_columns,
            channels=self.channels,
            taps=self.taps,
            cycles_per_step=self.cycles_per_step,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """Number of steps an operand stays at the array before the next read of the buffer."""

    weight: int
    input: int

    def __post_init__(self) -> None:
        check_array_sizes("array.reuse", weight=self.weight, input=self.input)


class InnerRule(StrEnum):
    """The walk of a spatial array over kernel taps and input channels of one output.

    plain: tap by tap; flatten_shallow: taps joined as one depth if channels are fewer than lanes
    (BitFusion's first layer); ethos: the better of Arm's depth-first and part-kernel walks.
    """

    PLAIN = "plain"
    FLATTEN_SHALLOW = "flatten_shallow"
    ETHOS = "ethos"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spatial:
    """Dot-product units with fixed unrolled loops (ZigZag, NVDLA, BitFusion, Ethos-U)."""

    kind: Literal["spatial"] = "spatial"
    unroll: Unroll
    depthwise: DepthwiseUnroll | None
    reuse: Reuse
    inner: InnerRule
    accumulator_in_array: bool

    def __post_init__(self) -> None:
        loops = self.depthwise
        if loops is None:
            return
        macs = loops.out_rows * loops.out_columns * loops.channels * loops.taps
        if macs > self.pe_count * loops.cycles_per_step:
            raise ValueError(
                f"array.depthwise must use at most the {self.pe_count} multipliers of "
                f"array.unroll, got {macs} in {loops.cycles_per_step} cycles; correct one of them"
            )

    @property
    def pe_count(self) -> int:
        """Multipliers."""
        u = self.unroll
        return u.out_rows * u.out_columns * u.outputs * u.depth

    @property
    def columns(self) -> int:
        """Output channels worked on at once."""
        return self.unroll.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStationary:
    """Eyeriss: filter rows stay in a rows x columns grid; buffer traffic is measured per MAC."""

    kind: Literal["row_stationary"] = "row_stationary"
    rows: int
    columns: int
    buffer_accesses_per_mac_conv: float
    buffer_accesses_per_mac_linear: float
    noc_accesses_per_mac_conv: float
    noc_accesses_per_mac_linear: float

    def __post_init__(self) -> None:
        check_array_sizes("array", rows=self.rows, columns=self.columns)

    @property
    def pe_count(self) -> int:
        """Processing elements."""
        return self.rows * self.columns


@dataclass(frozen=True, slots=True, kw_only=True)
class BitSerial:
    """An engine that takes one weight bit a cycle in 3 x 3 kernels (NE16 of GAP9, after RBE).

    One tile is `tile_rows` x `tile_columns` output positions of `outputs` channels (of
    `depthwise_channels` in a depthwise layer) over `depth` input channels. A tile loads the input
    in `load_cycles` (1 x 1: `pointwise_load_cycles`) after `fifo_cycles`, and writes through a port
    of `port_bits`. A 1 x 1 kernel takes the bits of a weight at once, so that fewer bits gain zero
    cycles there. Other kernels run on the cores beside the engine at `core_macs_per_cycle`,
    whatever the bits.
    """

    kind: Literal["bit_serial"] = "bit_serial"
    tile_rows: int
    tile_columns: int
    outputs: int
    depth: int
    depthwise_channels: int
    fifo_cycles: int
    load_cycles: int
    pointwise_load_cycles: int
    normalize_cycles: int
    stream_cycles: int
    port_bits: int
    widest_weight_bits: int
    core_macs_per_cycle: float

    def __post_init__(self) -> None:
        if self.core_macs_per_cycle <= 0:
            raise ValueError("array.core_macs_per_cycle must be above 0, got 0; correct it")
        check_array_sizes(
            "array",
            tile_rows=self.tile_rows,
            tile_columns=self.tile_columns,
            outputs=self.outputs,
            depth=self.depth,
            depthwise_channels=self.depthwise_channels,
            port_bits=self.port_bits,
            widest_weight_bits=self.widest_weight_bits,
        )

    @property
    def pe_count(self) -> int:
        """MACs of one cycle in 3 x 3 kernels with the widest weights, rounded up."""
        units = self.tile_rows * self.tile_columns * KERNEL_TAPS * self.depth
        return -(-units // self.widest_weight_bits)

    @property
    def columns(self) -> int:
        """Output channels worked on at once."""
        return self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorCore:
    """A processor or a dot-product core, described by cycles for a MAC instead of wiring.

    Cycles are for the widest rate of the modes. A kernel wider than 1 x 1 costs
    `cycles_per_kernel_row` for each kernel row of each output (the loop's start), and an output of
    a matrix product costs `cycles_per_output`.
    """

    kind: Literal["vector_core"] = "vector_core"
    macs_per_cycle: int
    cycles_per_mac_conv: float
    cycles_per_mac_pointwise: float
    cycles_per_mac_depthwise: float
    cycles_per_mac_linear: float
    cycles_per_kernel_row: float
    cycles_per_output: float

    def __post_init__(self) -> None:
        check_array_sizes("array", macs_per_cycle=self.macs_per_cycle)
        least = min(
            self.cycles_per_mac_conv,
            self.cycles_per_mac_pointwise,
            self.cycles_per_mac_depthwise,
            self.cycles_per_mac_linear,
        )
        if least * self.macs_per_cycle < 1:
            raise ValueError(
                f"array.cycles_per_mac must be 1 / macs_per_cycle or more, got {least} with "
                f"{self.macs_per_cycle} MACs a cycle; correct one of them"
            )

    @property
    def pe_count(self) -> int:
        """Largest number of MACs in a cycle."""
        return self.macs_per_cycle

    @property
    def columns(self) -> int:
        """Output channels worked on at once."""
        return 1


Array = Systolic | Spatial | RowStationary | BitSerial | VectorCore


def check_array_sizes(table: str, **sizes: int) -> None:
    """Raise ValueError where a size is not in 1..65536."""
    for name, size in sizes.items():
        if not 1 <= size <= LARGEST_SIDE:
            raise ValueError(
                f"{table}.{name} must lie in 1..{LARGEST_SIDE}, got {size}; correct it"
            )
