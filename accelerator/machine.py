"""A machine on which a network could run, as a TOML file describes it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal

from accelerator.array import Array, Mode, ModeFamily, generate_modes
from accelerator.schema import decode, numbers
from accelerator.technology import NODES_NM

MAX_FILE_BYTES = 256 * 1024
MACHINES = Path(__file__).parent / "machines"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A whole machine; every number's source stands in `sources` under its dotted key.

    `illustrative` marks machines whose maker never published energies. Raises ValueError for
    numbers that contradict each other.
    """

    name: str
    title: str
    illustrative: bool
    technology_nm: int
    clock_hz: float
    static_w: float
    pipeline_tiles: int
    accumulator_bits: int | None
    decompose: bool
    weight_storage: Storage
    activation_storage: Storage
    activation_spill: Spill
    weights_resident: bool
    eltwise_in_place: bool
    array: Array
    modes: tuple[Mode, ...] | None
    mode_family: ModeFamily | None
    buffers: Buffers
    dram: Dram
    sram: Sram
    post: Post
    energy: MachineEnergy
    float_unit: FloatUnit | None
    sources: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.clock_hz <= 0 or self.pipeline_tiles < 1 or self.accumulator_bits == 0:
            raise ValueError(
                "clock_hz, pipeline_tiles and accumulator_bits must be above 0, got "
                f"{self.clock_hz}, {self.pipeline_tiles} and {self.accumulator_bits}; correct them"
            )
        if self.technology_nm not in NODES_NM:
            raise ValueError(
                f"technology_nm must be one of {sorted(NODES_NM)}, got {self.technology_nm}; "
                "choose the nearest"
            )
        if (self.modes is None) == (self.mode_family is None):
            raise ValueError("modes or mode_family must be given, not both; keep one of them")
        if self.activation_storage is Storage.ENTROPY:
            raise ValueError(
                "activation_storage must be container or packed, got entropy; activations are "
                "not known beforehand, choose one of the two"
            )

    @property
    def all_modes(self) -> tuple[Mode, ...]:
        """The modes listed, or those the family generates."""
        if self.modes is not None:
            return self.modes
        return generate_modes(self.mode_family) if self.mode_family else ()

    def source_of(self, key: str) -> str:
        """Return where the number at a dotted key comes from; raises KeyError for no number."""
        return dict(self.sources)[key]


def parse_machine(text: str) -> Machine:
    """Read a machine from TOML text; raises ValueError with one sentence for the first fault."""
    if len(text.encode()) > MAX_FILE_BYTES:
        raise ValueError(
            f"a machine file must be at most {MAX_FILE_BYTES} bytes, it is larger; shorten it"
        )
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"a machine file must be TOML, got {error}; correct that place") from None
    sources = table.pop("sources", {})
    machine = decode(Machine, table)
    return replace(machine, sources=_read_sources(sources, set(numbers(table))))


def load_machine(path: str | Path) -> Machine:
    """Read a machine from a TOML file; raises ValueError as `parse_machine`, OSError if absent."""
    path = Path(path)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(
            f"{path.name} must be at most {MAX_FILE_BYTES} bytes, got {path.stat().st_size}; "
            "shorten it"
        )
    try:
        return parse_machine(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} must be UTF-8 text, it is not; save it as such") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def presets() -> tuple[str, ...]:
    """Name the machines that come with the package."""
    return tuple(sorted(path.stem for path in MACHINES.glob("*.toml")))


@cache
def load_preset(name: str) -> Machine:
    """Load a machine that comes with the package; raises ValueError for an unknown name."""
    if name not in presets():
        raise ValueError(
            f"a preset must be one of {', '.join(presets())}, got {name!r}; choose one"
        )
    return load_machine(MACHINES / f"{name}.toml")


def _read_sources(table: object, keys: set[str]) -> tuple[tuple[str, str], ...]:
    """Check that each number has a source and each source a number."""
    if not isinstance(table, Mapping):
        raise ValueError("sources must be a table of texts, it is not; write [sources]")
    for key in sorted(keys):
        source = table.get(key)
        if not isinstance(source, str) or not source.strip():
            raise ValueError(
                f'{key} must carry its source, none was found; add "{key}" = '
                '"where the number comes from" under [sources]'
            )
    for key in table:
        if key not in keys:
            raise ValueError(
                f"sources must name numbers of this file, {key!r} is none; remove or correct it"
            )
    return tuple(sorted(table.items()))
