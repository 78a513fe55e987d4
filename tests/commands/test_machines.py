"""The commands machines and calibrate-machine."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accelerator import estimate_workload, load_machine
from accelerator.validation.networks import network_table
from cli import app
from sample_models.registry import SAMPLES

ROWS = """network,latency_s,energy_j
ic,0.10949,0.0025652
kws,0.028995,0.00066442
ad,0.0032095,0.000077236
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "board.csv"
    path.write_text(ROWS)
    return path


def calibrate(rows: Path, out: Path, *more: str) -> tuple[int, str, str]:
    arguments = ("calibrate-machine", "--machine", "stm32u575_like", "--measurements", str(rows))
    result = CliRunner().invoke(app, [*arguments, "--out", str(out), *more])
    return result.exit_code, result.stdout, result.stderr


def test_three_rows_predict_the_fourth_network(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    code, answer, said = calibrate(rows, out, "--model", "vww")
    assert code == 0, said
    found = json.loads(answer)
    assert found["energy"]["networks"] == 3
    assert found["energy"]["mean_error"] < 0.12
    left = {one["network"] for one in found["next_measurements"]}
    assert left
    assert left == {"vww", *SAMPLES}  # what was measured is not asked for again
    assert "Warning: energy: no row spends" in said
    machine = load_machine(out)
    assert machine.name == "mine"
    report = estimate_workload(network_table("vww"), machine)
    assert report.energy_pj_ci is not None
    assert report.energy_pj_ci[0] < 1372e6 < report.energy_pj_ci[1]
    assert "3 rows of board.csv (ic, kws, ad)" in machine.source_of_number("scales.cycle_energy")


def test_the_cost_on_a_fitted_machine_has_intervals(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    assert calibrate(rows, out)[0] == 0
    asked = CliRunner().invoke(app, ["cost", "--model", "letter-mlp", "--machine", str(out)])
    assert asked.exit_code == 0, asked.stderr
    cost = json.loads(asked.stdout)["cost"]
    for name in ("energy_pj", "latency_s"):
        low, high = cost[f"{name}_ci"]
        assert low < cost[name] < high
    assert "3 measured networks, leave one out" in cost["trust"]


def test_milliseconds_are_asked_about_in_one_sentence(rows: Path, tmp_path: Path) -> None:
    rows.write_text(ROWS.replace("0.028995", "28.995"))
    code, answer, said = calibrate(rows, tmp_path / "mine.toml")
    assert (code, answer) == (2, "")
    assert "Row kws: is latency_s = 28.995 in seconds (not ms or µs)?" in said
    assert not (tmp_path / "mine.toml").exists()
    assert calibrate(rows, tmp_path / "mine.toml", "--accept")[0] == 0


def test_a_network_that_is_nowhere_is_refused(rows: Path, tmp_path: Path) -> None:
    rows.write_text("network,latency_s\nnowhere,0.1\n")
    code, _, said = calibrate(rows, tmp_path / "mine.toml")
    assert code == 2
    assert "must be one of ic, kws, vww, ad of MLPerf Tiny, a sample" in said


def test_validation_is_printed_and_written(tmp_path: Path) -> None:
    out = tmp_path / "checks.json"
    result = CliRunner().invoke(app, ["machines", "--validate", "--json", str(out)])
    assert result.exit_code == 0, result.stderr
    found = json.loads(out.read_text())
    assert len(found["rows"]) == 27
    assert {one["machine"] for one in found["machines"]} >= {"gap9_ne16_like", "ndp120_like"}
    assert all(one["energy_worst_error"] < 0.2 for one in found["machines"])
