"""The command check: exit codes, and the files that a pipeline reads."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from accelerator.machine import load_preset
from analysis.gate.condition import read_condition
from analysis.gate.decide import check_run
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import write_experiment_json
from analysis.runs.run_store import RunStore
from cli import app
from commands.experiment.model_source import with_model_source
from commands.gate.outcome_files import outcome_as_junit, outcome_as_markdown
from quant.config import uniform_config
from tests.analysis.results import layer_cost, report, run

MODEL = "fashion-mobilenet"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Experiments of 8 and of 2 bits."""
    folder = tmp_path_factory.mktemp("experiments")
    machine = load_preset("edge_systolic_8b")
    found = {}
    for bits in (8, 2):
        found[f"w{bits}"] = folder / f"w{bits}.json"
        experiment = Experiment(uniform_config(bits, 8), machine)
        found[f"w{bits}"].write_text(write_experiment_json(experiment), encoding="utf-8")
    return found


def check(file: Path, *more: str | Path, samples: int = 64) -> Result:
    asked = ("check", "--model", MODEL, "--experiment", file, "--samples", samples,
             "--calibration", 32, *more)  # fmt: skip
    return CliRunner().invoke(app, [str(one) for one in asked])


def test_each_outcome_has_its_exit_code(files: dict[str, Path], tmp_path: Path) -> None:
    junit, markdown = tmp_path / "out.xml", tmp_path / "out.md"
    written = ("--junit", junit, "--markdown", markdown)
    holds = check(files["w8"], "--fail-if", "drop > 30", "--fail-if", "energy > 1 mJ", *written)
    assert holds.exit_code == 0, holds.stderr
    answer = json.loads(holds.stdout)
    assert answer["outcome"] == "holds"
    assert [one["outcome"] for one in answer["conditions"]] == ["holds", "holds"]
    low, high = answer["conditions"][0]["interval"]
    assert low <= answer["conditions"][0]["value"] <= high <= 0.3
    suite = ET.fromstring(junit.read_text())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")
    assert "## QuantScope: holds" in markdown.read_text()

    broken = check(files["w2"], "--fail-if", "drop > 1", "--against", files["w8"], *written)
    assert broken.exit_code == 1
    assert ET.fromstring(junit.read_text()).find("testcase/failure") is not None
    told = markdown.read_text()
    assert "### Against W8A8 per-channel" in told
    assert "| layer | SQNR before, dB | SQNR after, dB |" in told

    undecided = check(files["w8"], "--fail-if", "drop > 1")
    assert undecided.exit_code == 3
    assert "images more would decide" in undecided.stderr
    assert json.loads(undecided.stdout)["conditions"][0]["more_images"] > 0


def test_a_kept_run_is_the_base_of_the_next(files: dict[str, Path], tmp_path: Path) -> None:
    kept = ("--fail-if", "drop > 5", "--runs", tmp_path)
    assert check(files["w8"], *kept).exit_code in {0, 3}
    found = check(files["w8"], *kept, "--against", "W8A8 per-channel")
    assert found.exit_code == 3  # 64 images cannot show that none of 5 points are lost
    assert json.loads(found.stdout)["conditions"][0]["value"] == 0.0


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--fail-if", "drop"), "A condition must be"),
        (("--fail-if", "drop > 1", "--against", "none"), "without --runs"),
        (("--fail-if", "drop > 1", "--junit", "nowhere/out.xml"), "--junit must name a file"),
        (("--fail-if", "loss > 1"), "needs a metric"),
    ],
)
def test_what_cannot_be_checked_is_told(
    files: dict[str, Path], more: tuple[str, ...], why: str
) -> None:
    result = check(files["w8"], *more, samples=8)
    assert result.exit_code == 2
    assert why in result.stderr


def test_names_from_files_make_neither_markup_nor_broken_xml() -> None:
    evil = run("a | <b>\x00 [x](y) @team", report(layer_cost("<i>`l`")), model="</testcase>")
    decisions = check_run(evil, [read_condition("energy > 1 nJ")])
    suite = ET.fromstring(outcome_as_junit(decisions, evil))
    assert suite.get("name") == "QuantScope check of a | <b>? [x](y) @team"
    told = outcome_as_markdown(decisions, evil, None)
    assert "a \\| \\<b\\>" in told
    assert "\\@team" in told


def test_the_file_of_an_experiment_names_the_model(files: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "e.json"
    file.write_text(with_model_source(files["w8"].read_text(), MODEL))
    asked = ["check", "--experiment", str(file), "--fail-if", "energy > 1 mJ", "--samples", "8"]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["conditions"][0]["outcome"] == "holds"
    nameless = CliRunner().invoke(app, [*asked[:2], str(files["w8"]), *asked[3:]])
    assert nameless.exit_code == 2
    assert "w8.json names none. Name the model with --model." in nameless.stderr


@pytest.mark.parametrize("text", ["{", "[" * 100_000])
def test_a_broken_experiment_is_told_before_its_model_is_sought(tmp_path: Path, text: str) -> None:
    file = tmp_path / "e.json"
    file.write_text(text)
    found = CliRunner().invoke(app, ["check", "--experiment", str(file), "--fail-if", "drop > 1"])
    assert found.exit_code == 2
    assert "An experiment must be JSON" in found.stderr


def test_a_check_stops_once_its_conditions_are_decided(
    files: dict[str, Path], tmp_path: Path
) -> None:
    stopping = ("--fail-if", "drop > 1", "--stop-when-decided", "--runs", tmp_path)
    broken = check(files["w2"], *stopping, samples=1000)
    assert broken.exit_code == 1, broken.stderr
    answer = json.loads(broken.stdout)
    (condition,) = answer["conditions"]
    assert condition["images"] < 1000
    assert condition["confidence"] > 0.95
    assert any("the conditions are decided (look 1 of" in one for one in answer["run"]["notes"])
    (kept,) = RunStore(tmp_path).all_runs()
    assert kept.evaluation.samples == condition["images"]

    open_still = check(files["w8"], *stopping, samples=64)
    assert open_still.exit_code == 3
    assert json.loads(open_still.stdout)["conditions"][0]["images"] == 64

    both = check(files["w2"], *stopping, "--against", files["w8"])
    assert both.exit_code == 2
    assert "compares with the float network" in both.stderr
