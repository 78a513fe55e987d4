"""The command images: enough to calibrate on, and to decide between two experiments."""

import json
from pathlib import Path

from typer.testing import CliRunner

from accelerator.machine import load_preset
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import write_experiment_json
from cli import app
from quant.config import uniform_config


def test_the_curve_and_the_decision_are_told(tmp_path: Path) -> None:
    files = []
    for bits in (8, 2):
        files.append(tmp_path / f"w{bits}.json")
        made = Experiment(uniform_config(bits, 8), load_preset("edge_systolic_8b"))
        files[-1].write_text(write_experiment_json(made), encoding="utf-8")
    asked = [
        "images",
        "--model",
        "letter-mlp",
        "--experiment",
        str(files[0]),
        "--calibration",
        "64",
        "--samples",
        "500",
        "--against",
        str(files[1]),
    ]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    points = answer["calibration"]["points"]
    assert [point["images"] for point in points] == [8, 16, 32]
    decision = answer["decision"]
    assert decision["better"].startswith("W8A8")
    assert decision["interval"]["high"] < 0
    few = CliRunner().invoke(app, [*asked[:5], "--calibration", "8"])
    assert few.exit_code == 2
    assert "needs at least 16; got 8" in few.stderr
