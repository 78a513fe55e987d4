"""Machine files: what is refused, and with which sentence; every preset number has a source."""

import tomllib
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from accelerator import load_machine, load_preset, parse_machine, preset_names
from accelerator.array import Dataflow, Systolic
from accelerator.machine import MACHINES, MAX_FILE_BYTES
from accelerator.schema import keys_of_numbers

EDGE = (MACHINES / "edge_systolic_8b.toml").read_text()
ETHOS = (MACHINES / "ethos_u55_256_like.toml").read_text()

NAMES = {
    "horowitz45_generic",
    "synth45_fixed",
    "edge_systolic_8b",
    "tpu_v1_like",
    "eyeriss_like",
    "nvdla_full_like",
    "bitfusion_like",
    *(f"ethos_u55_{macs}_like" for macs in (32, 64, 128, 256)),
    "diana_like",
    "gap9_ne16_like",
    "ndp120_like",
    "stm32u575_like",
    "stm32l4r5_like",
}
POINTS = {"gap9_ne16_like@0.80V", "ndp120_like@1.1V"}


def test_the_presets_are_those_of_the_note() -> None:
    assert set(preset_names()) == NAMES | POINTS


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_number_of_a_preset_has_a_source(name: str) -> None:
    table = tomllib.loads((MACHINES / f"{name}.toml").read_text())
    sources = table.pop("sources")
    keys = set(keys_of_numbers(table))
    assert len(keys) > 20
    assert set(sources) == keys
    assert all(len(source) > 5 for source in sources.values())
    assert load_preset(name).name == name


@pytest.mark.parametrize("name", sorted(NAMES))
def test_machines_without_published_energies_are_illustrative(name: str) -> None:
    unpublished = name.startswith(("ethos", "nvdla"))
    machine = load_preset(name)
    assert machine.illustrative is unpublished
    if unpublished:
        assert "placeholder" in machine.source_of_number("energy.mac.k2_pj_per_bit2")


def test_a_file_becomes_a_machine(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(EDGE)
    machine = load_machine(path)
    assert isinstance(machine.array, Systolic)
    assert (machine.array.rows, machine.array.dataflow) == (32, Dataflow.WEIGHTS)
    assert machine.clock_hz == 5e8
    assert machine.source_of_number("clock_hz") == "our choice"
    assert machine == load_preset("edge_systolic_8b")
    assert len({machine, load_preset("edge_systolic_8b")}) == 1
    with pytest.raises(FrozenInstanceError):
        machine.clock_hz = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("clock_hz = ", "clock = ", "clock must carry its unit, it has none; write clock_hz"),
        ("weight_bytes = ", "weight = ", "buffers.weight must carry .* write weight_bytes"),
        ("rows = ", "rosw = ", "array.rosw must be a known key, it is not; write rows"),
        ("static_w = 0.0\n", "", "static_w must be given, it is missing"),
        ("rows = 32", "rows = 0", "array.rows must lie in 1..65536, got 0"),
        ("rows = 32", "rows = 70000", "array.rows must lie in 1..65536, got 70000"),
        ("rows = 32", "rows = -1", "array.rows must be a finite number from 0"),
        ("rows = 32", "rows = 3.5", "array.rows must be a whole number, got '3.5'"),
        ("rows = 32", "rows = true", "array.rows must be a whole number, got 'True'"),
        ("clock_hz = 500000000.0", "clock_hz = nan", "clock_hz must be a finite number .* nan"),
        ("clock_hz = 500000000.0", "clock_hz = inf", "clock_hz must be a finite number .* inf"),
        ("clock_hz = 500000000.0", "clock_hz = 0.0", "clock_hz, .* must be above 0"),
        ("clock_hz = 500000000.0", 'clock_hz = "fast"', "clock_hz must be a number, got 'fast'"),
        ('"clock_hz" = "our choice"\n', "", "clock_hz must carry its source, none was found"),
        ('"clock_hz" = "our choice"', '"clock_hz" = " "', "clock_hz must carry its source"),
        ('"clock_hz" = "our choice"', '"clok_hz" = "x"\n"clock_hz" = "x"', "'clok_hz' is none"),
        ('dataflow = "ws"', 'dataflow = "rs"', "array.dataflow must be one of ws, os, is"),
        ('kind = "systolic"', 'kind = "magic"', "array.kind must be one of systolic, spatial"),
        ("technology_nm = 45", "technology_nm = 28", "technology_nm must be one of .* got 28"),
        ("weight_bits = 8", "weight_bits = 0", "modes.weight_bits must lie in 1..32, got 0"),
        ("macs_per_pe_cycle = 1.0", "macs_per_pe_cycle = 0.0", "macs_per_pe_cycle must be above"),
        ("double_buffer = false", "double_buffer = 0", "buffers.double_buffer must be true or"),
        ("unified = false", "unified = true", "buffers.weight_bytes must equal"),
        ('activation_storage = "container"', 'activation_storage = "entropy"', "got entropy"),
        ("[sources]", "[sources", "a machine file must be TOML"),
        ("rows = 32", f"rows = {'9' * 5000}", "a machine file must be TOML"),
        ("[energy.mac]", "[energy.adder]", "energy.adder must be a known key"),
    ],
)
def test_faults_are_named_in_one_sentence(old: str, new: str, sentence: str) -> None:
    assert old in EDGE
    with pytest.raises(ValueError, match=sentence) as fault:
        parse_machine(EDGE.replace(old, new, 1))
    assert "\n" not in str(fault.value)


def test_a_machine_needs_modes_or_a_family_not_both() -> None:
    family = '[mode_family]\nfamily = "pairs"\nnarrowest_bits = 2\nwidest_bits = 8\n\n[[modes]]'
    sources = '"mode_family.narrowest_bits" = "x"\n"mode_family.widest_bits" = "x"\n'
    text = EDGE.replace("[[modes]]", family).replace("[sources]\n", f"[sources]\n{sources}")
    with pytest.raises(ValueError, match="modes or mode_family must be given, not both"):
        parse_machine(text)


def test_tables_must_be_tables() -> None:
    with pytest.raises(ValueError, match="sources must be a table of texts"):
        parse_machine("sources = 3\n" + EDGE[: EDGE.index("[sources]")])
    mac = '[energy.mac]\nkind = "per_cycle"\npj_per_pe_cycle = 0.04\n'
    assert mac in EDGE
    text = EDGE.replace(mac, "").replace("[energy]\n", "[energy]\nmac = 3\n")
    with pytest.raises(ValueError, match=r"energy.mac must be a table, got '3'"):
        parse_machine(text)


def test_user_files_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_text("#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ValueError, match=r"huge.toml must be at most 262144 bytes, got 262145"):
        load_machine(path)
    with pytest.raises(ValueError, match="must be at most 262144 bytes"):
        parse_machine(path.read_text())
    with pytest.raises(ValueError, match="a machine file must be TOML"):
        parse_machine("a = " + "[" * 5000)


def test_a_fault_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(EDGE.replace("rows = 32", "rows = 0", 1))
    with pytest.raises(ValueError, match=r"mine.toml: array.rows must lie"):
        load_machine(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"mine.toml must be UTF-8 text"):
        load_machine(path)


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"a preset must be one of bitfusion_like, .* got '\.\./x'"
    ):
        load_preset("../x")


def test_every_mode_is_read() -> None:
    modes = parse_machine(ETHOS).listed_modes
    pairs = [(m.weight_bits, m.activation_bits, m.macs_per_pe_cycle) for m in modes]
    assert pairs == [(8, 8, 1.0), (8, 16, 0.5)]
