"""An ONNX file behind `--model`, in the commands."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from tests.model_io.onnx_files import saved, small


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = small()
    made.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"
    return saved(tmp_path / "small.onnx", made)


def test_cost_of_a_file_and_what_was_read(path: Path) -> None:
    found = CliRunner().invoke(app, ["cost", "--model", str(path), "--input-shape", "3,8,8"])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["model"] == "small"
    assert "5 nodes of 5 operators" in found.stderr


def test_a_file_is_evaluated(path: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs.npz"
    values = np.random.default_rng(0).normal(size=(30, 3, 8, 8)).astype(np.float32)
    np.savez(inputs, inputs=values)
    asked = ["evaluate", "--model", str(path), "--input-shape", "3,8,8", "--data", str(inputs)]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["quantized"]["sqnr_db"] > 15


def test_open_sizes_are_asked_for(path: Path) -> None:
    found = CliRunner().invoke(app, ["cost", "--model", str(path)])
    assert found.exit_code == 2
    assert "such as 3,8,224" in found.stderr
    assert "Traceback" not in found.stderr
