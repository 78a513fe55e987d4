"""Encodings of a file behind `evaluate --encodings`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from tests.model_io.onnx_files import saved, small
from tests.model_io.onnx_import.test_quantized import quantized

RECORDS = [
    {"name": "x", "y_scale": 0.05, "y_zero_point": 120, "output_dtype": "uint8"},
    {"name": "w", "y_scale": 0.02, "output_dtype": "int4"},
    {"name": "nobody", "y_scale": 0.1, "output_dtype": "uint8"},
]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(30, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "inputs.npz", inputs=values)
    return tmp_path / "inputs.npz"


def evaluate(model: Path, inputs: Path, *more: str) -> Any:
    asked = ["evaluate", "--model", str(model), "--data", str(inputs), *more]
    return CliRunner().invoke(app, asked)


def test_encodings_are_the_configuration_and_the_grids(tmp_path: Path, inputs: Path) -> None:
    model = saved(tmp_path / "small.onnx", small())
    file = tmp_path / "some.encodings"
    file.write_text(json.dumps({"version": "2.0.0", "encodings": RECORDS}))
    found = evaluate(model, inputs, "--encodings", str(file))
    assert found.exit_code == 0, found.stderr
    answer = json.loads(found.stdout)
    assert answer["recipe"] == ["Encodings of some.encodings (2 tensors)"]
    assert answer["config"]["default"]["weight"]["bits"] in (4, 32)
    notes = " ".join(answer["notes"])
    assert "since no tensor of the network has that name: nobody." in notes
    assert "left float: conv; pool; fc weight; fc" in notes


@pytest.mark.filterwarnings("ignore")
def test_the_grids_of_a_quantized_file_itself(tmp_path: Path, inputs: Path) -> None:
    _, model = quantized(tmp_path)
    found = evaluate(model, inputs, "--encodings", "own")
    assert found.exit_code == 0, found.stderr
    answer = json.loads(found.stdout)
    assert answer["recipe"] == ["Encodings of int8 (6 tensors)"]
    assert answer["quantized"]["sqnr_db"] > 15


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--encodings", "own"], "an ONNX file with quantizers"),
        (["--encodings", "missing.json"], "cannot be opened"),
        (["--encodings", "{bad}"], "must be JSON"),
        (["--encodings", "{good}", "--equalize"], "together with Equalize"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    more: list[str], said: str, tmp_path: Path, inputs: Path
) -> None:
    model = saved(tmp_path / "small.onnx", small())
    (tmp_path / "bad").write_text("{")
    (tmp_path / "good").write_text(json.dumps({"version": "2.0.0", "encodings": RECORDS}))
    named = [part.format(bad=tmp_path / "bad", good=tmp_path / "good") for part in more]
    found = evaluate(model, inputs, *named)
    assert found.exit_code == 2
    assert said in found.stderr
    assert "Traceback" not in found.stderr


def test_what_comes_in_as_encodings_goes_out_as_the_same(tmp_path: Path, inputs: Path) -> None:
    model, file = saved(tmp_path / "small.onnx", small()), tmp_path / "some.encodings"
    file.write_text(json.dumps({"version": "2.0.0", "encodings": RECORDS}))
    out = tmp_path / "out.encodings"
    found = CliRunner().invoke(
        app,
        ["export", "--model", str(model), "--data", str(inputs), "--encodings", str(file),
         "--format", "aimet-2.0.0", "--out", str(out)],
    )  # fmt: skip
    assert found.exit_code == 0, found.stderr
    assert any("nobody" in note for note in json.loads(found.stdout)["notes"])
    written = json.loads(out.read_text())["encodings"]
    scales = {one["y_scale"] for one in written if isinstance(one["y_scale"], float)}
    assert {float(np.float32(scale)) for scale in (0.05, 0.02)} <= scales
