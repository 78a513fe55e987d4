"""The command train: its contract, and the same call again."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app

BRIEF = [
    *("train", "--model", "letter-mlp", "--weight-bits", "2", "--activation-bits", "8"),
    *("--steps", "20", "--batch", "64", "--samples", "400", "--calibration", "64"),
]


def call(folder: Path, *more: str) -> dict[str, Any]:
    out = folder / "out.json"
    result = CliRunner().invoke(app, [*BRIEF, *more, "--runs", str(folder), "--json", str(out)])
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(out.read_text())
    return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def test_training_tells_scores_images_steps_and_curves(folder: Path) -> None:
    answer = call(folder)
    assert answer["quantized"]["top1"] > answer["before"]["top1"]
    assert answer["float"]["top1"] > 0.9
    assert answer["images"] == {
        "trained": answer["images"]["trained"],
        "watched": 1000,
        "scored": 400,
        "seen": 20 * 64,
    }
    assert answer["steps"] == 20
    assert answer["seconds"] > 0
    assert [point["step"] for point in answer["curves"]] == [0, 20]
    again = call(folder)
    assert again == {**answer, "seconds": again["seconds"]}
    longer = call(folder, "--continue", answer["training"])
    assert longer["training"] != answer["training"]
    assert longer["before"]["top1"] == answer["quantized"]["top1"]


def test_a_trained_network_is_scored_and_exported_as_it_was_trained(folder: Path) -> None:
    answer = call(folder)
    given = ["--model", "letter-mlp", "--trained", answer["training"], "--runs", str(folder)]
    scored = CliRunner().invoke(
        app, ["evaluate", *given, "--samples", "400", "--json", str(folder / "e.json")]
    )
    assert scored.exit_code == 0, scored.output
    found = json.loads((folder / "e.json").read_text())
    assert found["quantized"]["top1"] == answer["quantized"]["top1"]
    assert found["recipe"] == [f"Training {answer['training']} (20 steps)"]
    out = ["--format", "onnx-qdq", "--out", str(folder / "net.onnx")]
    exported = CliRunner().invoke(
        app, ["export", *given, *out, "--check", "--samples", "100", "--json", str(folder / "x")]
    )
    assert exported.exit_code == 0, exported.output
    assert json.loads((folder / "x").read_text())["checks"]
    other = CliRunner().invoke(
        app, ["evaluate", "--model", "fashion-resnet", *given[2:], "--samples", "10"]
    )
    assert other.exit_code == 2
    assert "belongs to the network letter-mlp" in other.output


def test_an_unknown_training_is_told(folder: Path) -> None:
    result = CliRunner().invoke(app, [*BRIEF, "--continue", "abc", "--runs", str(folder)])
    assert result.exit_code == 2
    assert "No training 'abc' has ended" in result.output


def test_learned_widths_are_scored_as_they_were_learned(folder: Path) -> None:
    answer = call(folder, "--method", "neuron-widths", "--width-rate", "0.1", "--steps", "3")
    assert 1 < answer["curves"][-1]["measures"]["mean_bits"] < 8
    given = ["--model", "letter-mlp", "--trained", answer["training"], "--runs", str(folder)]
    scored = CliRunner().invoke(
        app, ["evaluate", *given, "--samples", "400", "--json", str(folder / "w.json")]
    )
    assert scored.exit_code == 0, scored.output
    found = json.loads((folder / "w.json").read_text())
    assert found["quantized"]["top1"] == answer["quantized"]["top1"]
    assert found["config"] == answer["config"]
