"""`python cli.py report`: one HTML file from a run that is measured, or from one that is kept."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from analysis.runs.run_store import RunStore
from cli import app

QUICK = ("--model", "fashion-resnet", "--samples", "40", "--calibration", "16")


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs and the report of the one that was measured for it."""
    folder = tmp_path_factory.mktemp("report")
    result = report(
        *QUICK, "--weight-bits", "4", "--name", "<i>four</i>", "--runs", folder,
        "--out", folder / "new.html",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    return folder


def test_a_configuration_is_measured_kept_and_reported(made: Path) -> None:
    (run,) = RunStore(made).all_runs()
    text = (made / "new.html").read_text(encoding="utf-8")
    assert repr(run.evaluation.quantized_top1) in text
    assert repr(run.cost.energy_pj) in text
    assert "<i>four</i>" not in text
    assert "&lt;i&gt;four&lt;/i&gt;" in text
    assert "--samples 40 --calibration 16 --seed 0" in text


def test_a_kept_run_is_reported_without_a_model(made: Path) -> None:
    (run,) = RunStore(made).all_runs()
    out = made / "kept.html"
    assert report("--run", run.id[:6], "--runs", made, "--out", out).exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert repr(run.cost.latency_s) in text
    assert "The model was not loaded" in text


def test_with_its_model_a_kept_run_has_ranges_and_its_own_images(made: Path) -> None:
    out = made / "with model.html"
    result = report(
        "--run", "<i>four</i>", "--runs", made, "--model", "fashion-resnet", "--out", out
    )
    assert result.exit_code == 0, result.stderr
    text = out.read_text(encoding="utf-8")
    assert "not those of the run" not in text
    assert "Ranges of activations were not examined" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "needs a model"),
        (("--run", "x"), "--runs"),
        (("--run", "nothing", "--runs", "."), "must name one run"),
        (("--model", "fashion-resnet", "--front", "front.json"), "answer of optimize"),
        (("--model", "nothing"), "nothing"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("front.json").write_text(json.dumps({"front": []}))
    quick = ("--samples", "8", "--calibration", "4")
    result = report(*arguments, *quick, "--out", "report.html")
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("report.html").exists()


def test_the_place_is_checked_before_the_work(tmp_path: Path) -> None:
    result = report(*QUICK, "--out", tmp_path / "nowhere" / "report.html")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --out must name a file in a folder that exists")
