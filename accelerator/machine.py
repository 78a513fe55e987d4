"""A machine on which a network could run, as a TOML file describes it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from accelerator.array import Array
from accelerator.modes import Mode, ModeFamily, generate_family_modes
from accelerator.parts import (
    Buffers,
    Dram,
    FloatUnit,
    MachineEnergy,
    MachineFit,
    OperatingPoint,
    Overheads,
    Post,
    Requant,
    Residency,
    Scales,
    Spill,
    Sram,
    Storage,
    WeightMemory,
)
from accelerator.schema import decode_table, keys_of_numbers
from accelerator.technology import NODES_NM

__all__ = [
    "Machine",
    "Requant",
    "Residency",
    "Spill",
    "Storage",
    "load_machine",
    "load_preset",
    "machine_at_point",
    "machine_from_table",
    "parse_machine",
    "preset_names",
]

MAX_FILE_BYTES = 256 * 1024
MACHINES = Path(__file__).parent / "machines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A whole machine; every number's source stands in `sources` under its dotted key.

    `illustrative` marks machines whose maker never published energies. `borders_on_chip` says
    that the network's inputs and outputs lie on chip too. `points` are further clocks and
    voltages; `fit` says how far the estimates are from measurements.

    Raises ValueError for numbers that contradict each other.
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
    weights_resident: Residency
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
    weight_memory: WeightMemory | None
    supply_v: float | None
    points: tuple[OperatingPoint, ...] | None
    fit: MachineFit | None
    overheads: Overheads = field(default_factory=Overheads)
    scales: Scales = field(default_factory=Scales)
    borders_on_chip: bool = False
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
        if self.points and not self.supply_v:
            raise ValueError("supply_v must be given where there are points; add the key")

    @property
    def listed_modes(self) -> tuple[Mode, ...]:
        """The modes listed, or those the family generates."""
        if self.modes is not None:
            return self.modes
        return generate_family_modes(self.mode_family) if self.mode_family else ()

    def source_of_number(self, key: str) -> str:
        """Return where the number at a dotted key comes from; raises KeyError for no number."""
        return dict(self.sources)[key]

    @property
    def weight_room_bytes(self) -> int:
        """Bytes in which weights may stay between inferences."""
        memory = self.weight_memory
        return self.buffers.weight_bytes if memory is None else memory.size_bytes


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
    machine = machine_from_table(table)
    return replace(machine, sources=_read_number_sources(sources, set(keys_of_numbers(table))))


def machine_from_table(table: Mapping[str, object]) -> Machine:
    """Build a machine from a table without sources; raises ValueError as `parse_machine`.

    Files written before 2026-11-29 have true or false for `weights_resident`: auto or never.
    """
    resident = table.get("weights_resident")
    if isinstance(resident, bool):
        table = {**table, "weights_resident": Residency.AUTO if resident else Residency.NEVER}
    return decode_table(Machine, table)


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


@cache
def preset_names() -> tuple[str, ...]:
    """Name the machines that come with the package, each operating point as NAME@POINT."""
    names: list[str] = []
    for path in sorted(MACHINES.glob("*.toml")):
        names += (path.stem, *(f"{path.stem}@{point}" for point in _point_names(path)))
    return tuple(names)


@cache
def load_preset(name: str) -> Machine:
    """Load a machine that comes with the package; raises ValueError for an unknown name."""
    if name not in preset_names():
        raise ValueError(
            f"a preset must be one of {', '.join(preset_names())}, got {name!r}; choose one"
        )
    base, _, point = name.partition("@")
    machine = load_machine(MACHINES / f"{base}.toml")
    return machine_at_point(machine, point) if point else machine


def machine_at_point(machine: Machine, name: str) -> Machine:
    """Return the machine at one of its further clocks and voltages.

    The energy of switching grows with the voltage's square, leakage power with the voltage (our
    choice); cycles stay. Energies of DRAM stay, for DRAM has a supply of its own.

    Raises:
        ValueError: the machine has no point of that name.
    """
    points = {point.name: point for point in machine.points or ()}
    if name not in points or machine.supply_v is None:
        raise ValueError(
            f"a point of {machine.name} must be one of {', '.join(points) or 'none'}, got {name!r}"
            "; choose one"
        )
    point = points[name]
    ratio = point.supply_v / machine.supply_v
    scales, dram = machine.scales, machine.dram
    return replace(
        machine,
        name=f"{machine.name}@{name}",
        title=f"{machine.title}, {point.supply_v:g} V {point.clock_hz / 1e6:g} MHz",
        clock_hz=point.clock_hz,
        supply_v=point.supply_v,
        points=None,
        static_w=machine.static_w * ratio,
        dram=replace(
            dram,
            read_pj_per_bit=dram.read_pj_per_bit / ratio**2,
            write_pj_per_bit=dram.write_pj_per_bit / ratio**2,
        ),
        scales=replace(
            scales,
            compute_energy=scales.compute_energy * ratio**2,
            memory_energy=scales.memory_energy * ratio**2,
            cycle_energy=scales.cycle_energy * ratio**2,
            fixed_energy=scales.fixed_energy * ratio**2,
        ),
    )


def _point_names(path: Path) -> list[str]:
    """Return the names of a file's operating points without reading the whole machine."""
    points = tomllib.loads(path.read_text(encoding="utf-8")).get("points", [])
    return [str(point["name"]) for point in points]


def _read_number_sources(table: object, keys: set[str]) -> tuple[tuple[str, str], ...]:
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
