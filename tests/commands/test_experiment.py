"""An experiment's file is taken whole by every command, repairs included."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app

MODEL = "fashion-mobilenet-imbalanced"
QUICK = ("--samples", "100", "--calibration", "32")
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Return a function that runs a command and returns the JSON it wrote."""
    folder = tmp_path_factory.mktemp("answers")

    def run(*arguments: str | Path) -> Any:
        out = folder / "answer.json"
        result = CliRunner().invoke(app, [*map(str, arguments), "--json", str(out)])
        assert result.exit_code == 0, result.stderr
        return json.loads(out.read_text())

    return run


@pytest.fixture(scope="module")
def repaired(ask: Ask) -> dict[str, Any]:
    """What evaluate says of the network at 8 bits per tensor, equalized."""
    answer: dict[str, Any] = ask(
        "evaluate", "--model", MODEL, "--granularity", "per-tensor", "--equalize", *QUICK,
        "--machine", "bitfusion_like",
    )  # fmt: skip
    return answer


@pytest.fixture
def file(repaired: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "repaired.json"
    path.write_text(json.dumps(repaired))
    return path


def test_evaluate_measures_the_same_again(ask: Ask, repaired: dict[str, Any], file: Path) -> None:
    assert repaired["quantized"]["top1"] > repaired["float"]["top1"] - 0.05
    again = ask("evaluate", "--model", MODEL, "--experiment", file, *QUICK)
    for part in ("quantized", "recipe", "config", "experiment"):
        assert again[part] == repaired[part]
    assert again["cost"]["machine"] == "bitfusion_like"


def test_the_exported_file_has_the_repairs(
    ask: Ask, repaired: dict[str, Any], file: Path, tmp_path: Path
) -> None:
    """What ONNX Runtime computes from the file is as accurate as the run; unrepaired it is not."""
    asked = ("export", "--model", MODEL, "--format", "onnx-qdq", "--check", *QUICK)
    found = ask(*asked, "--experiment", file, "--out", tmp_path / "net.onnx")
    executed = found["execution"]["top1"]["executed"]["top1"]
    assert executed == pytest.approx(repaired["quantized"]["top1"], abs=0.03)
    assert executed > 0.8


def test_the_machine_is_the_experiments_unless_one_is_named(ask: Ask, file: Path) -> None:
    cost = ("cost", "--model", MODEL, "--experiment", file)
    assert ask(*cost)["cost"]["machine"] == "bitfusion_like"
    named = ask(*cost, "--machine", "edge_systolic_8b")
    assert named["cost"]["machine"] == "edge_systolic_8b"


@pytest.mark.parametrize(
    "beside", [("--weight-bits", "4"), ("--equalize",), ("--encodings", "own")]
)
def test_an_experiment_comes_alone(file: Path, beside: tuple[str, ...]) -> None:
    asked = ["evaluate", "--model", MODEL, "--experiment", str(file), *beside]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "must come alone" in result.stderr
