"""A machine on which a network could run, as a TOML file describes it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from accelerator.array import Array
from accelerator.modes import Mode, ModeFamily, generate_modes
from accelerator.parts import (
    Buffers,
    Dram,
    FloatUnit,
    MachineEnergy,
    Post,
    Requant,
    Spill,
    Sram,
    Storage,
)
from accelerator.schema import decode, numbers
from accelerator.technology import NODES_NM

__all__ = [
    "Machine",
    "Requant",
    "Spill",
    "Storage",
    "load_machine",
    "load_preset",
    "parse_machine",
    "presets",
]

MAX_FILE_BYTES = 256 * 1024
MACHINES = Path(__file__).parent / "machines"


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
