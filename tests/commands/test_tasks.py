"""Models of other tasks behind the commands: several inputs, tokens, a metric of the user's."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from typer.testing import CliRunner

from cli import app
from model_io.onnx_import.operators import TABLE, Operator
from quant.inputs import tensors_of_batch
from tests.model_io.onnx_files import model, node, saved
from tests.task_networks import TASKS

METRIC = """
import torch

def iou(outputs, targets):
    found = outputs.argmax(1)
    same = (found == targets).flatten(1).float().mean(1)
    return same

def error(outputs, targets):
    scores, boxes = outputs
    return float((boxes - targets["boxes"]).abs().mean())

error.higher_is_better = False

def broken(outputs, targets):
    return outputs[7][99]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(METRIC)
    return tmp_path


def data_of(name: str, folder: Path, count: int = 20, **more: Any) -> Path:
    task = TASKS[name]
    given = zip(task.inputs, tensors_of_batch(task.draw(count)), strict=True)
    arrays: dict[str, Any] = {one.name: values.numpy() for one, values in given}
    if len(arrays) == 1 and name == "detector":
        arrays = {"inputs": next(iter(arrays.values()))}
    np.savez(folder / "data.npz", **arrays, **more)
    return folder / "data.npz"


def file_of(name: str, folder: Path) -> Path:
    task, path, kept = TASKS[name], folder / f"{name}.onnx", io.StringIO()
    names = [one.name for one in task.inputs]
    with redirect_stdout(kept), redirect_stderr(kept):
        torch.onnx.export(
            task.model(), tensors_of_batch(task.draw(2)), path, dynamo=False, opset_version=17,
            input_names=names, dynamic_axes={key: {0: "n"} for key in names},
        )  # fmt: skip
    return path


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def answer(*words: object) -> dict[str, Any]:
    found = run(*words)
    assert found.exit_code == 0, found.stderr
    result: dict[str, Any] = json.loads(found.stdout)
    return result


@pytest.mark.filterwarnings("ignore")
def test_segments_are_evaluated_with_a_metric_and_checked_on_real_data(folder: Path) -> None:
    maps = np.random.default_rng(0).integers(0, 4, (20, 8, 8))
    path, data = file_of("segments", folder), data_of("segments", folder, targets=maps)
    found = answer("evaluate", "--model", path, "--data", data, "--calibration", 8,
                   "--weight-bits", 4, "--metric", f"{folder}/mine.py:iou")  # fmt: skip
    assert found["metric"]["name"] == "iou"
    assert found["metric"]["higher_is_better"] is True
    assert 0 < found["metric"]["quantized"] < 1
    low, high = found["metric"]["change_ci95"]
    assert low <= found["metric"]["change"] <= high
    assert (found["float"]["top1"], found["quantized"]["agreement"]) == (None, None)
    assert 0.5 < found["quantized"]["cosine"] < 1
    assert found["quantized"]["sqnr_db"] > 5
    assert any("no row of classes" in note for note in found["notes"])
    assert found["import_check"]["inputs"] == 12
    assert found["import_check"]["largest_relative_difference"] < 1e-4


@pytest.mark.filterwarnings("ignore")
def test_the_task_of_masks_and_of_boxes_is_known_without_a_metric(folder: Path) -> None:
    """Targets and outputs tell the task; each metric has a paired interval and its parts."""
    maps = np.random.default_rng(0).integers(0, 4, (20, 8, 8))
    path, data = file_of("segments", folder), data_of("segments", folder, targets=maps)
    found = answer("evaluate", "--model", path, "--data", data, "--calibration", 8)
    assert found["metric"]["name"] == "mIoU"
    low, high = found["metric"]["change_ci95"]
    assert low <= found["metric"]["change"] <= high
    assert [part["name"] for part in found["metric"]["parts"]][:2] == ["class 0", "class 1"]
    chosen = folder / "E.json"
    chosen.write_text(json.dumps(found["experiment"]))
    gate = run(
        "check",
        "--model",
        path,
        "--data",
        data,
        "--calibration",
        8,
        "--experiment",
        chosen,
        "--fail-if",
        "loss > 0.9",
    )
    assert gate.exit_code == 0, gate.stderr
    assert "loss is " in gate.stderr


@pytest.mark.filterwarnings("ignore")
def test_a_detector_has_two_outputs_and_targets_by_name(folder: Path) -> None:
    boxes = np.random.default_rng(0).normal(size=(20, 16, 4)).astype(np.float32)
    path = file_of("detector", folder)
    more: dict[str, Any] = {"targets.boxes": boxes}
    data = data_of("detector", folder, 20, **more)
    found = answer("evaluate", "--model", path, "--data", data, "--calibration", 8,
                   "--metric", f"{folder}/mine.py:error")  # fmt: skip
    assert found["metric"]["higher_is_better"] is False
    assert found["metric"]["change_ci95"] is None
    assert found["metric"]["float"] > 0


@pytest.mark.filterwarnings("ignore")
def test_tokens_are_evaluated_and_swept(folder: Path) -> None:
    labels = np.arange(20) % 4
    path, data = file_of("tokens", folder), data_of("tokens", folder, labels=labels)
    found = answer("evaluate", "--model", path, "--data", data, "--calibration", 8)
    assert found["float"]["top1"] is not None
    assert found["metric"] is None
    swept = answer("sensitivity", "--model", path, "--data", data, "--calibration", 8,
                   "--samples", 8, "--bits", 4)  # fmt: skip
    assert swept["samples"] == 8
    assert {row["layer"] for row in swept["layers"]} >= {"/words/Gather", "/head/Gemm"}
    cost = answer("cost", "--model", path)
    assert [one["name"] for one in cost["inputs"]] == ["ids", "mask"]


@pytest.mark.filterwarnings("ignore")
def test_a_metric_that_fails_names_its_line_and_the_rest_is_kept(folder: Path) -> None:
    path, data = file_of("segments", folder), data_of("segments", folder)
    found = run("evaluate", "--model", path, "--data", data, "--calibration", 8,
                "--metric", f"{folder}/mine.py:broken")  # fmt: skip
    assert found.exit_code == 2
    assert "mine.py:broken must give a number for each image" in found.stderr
    assert "got IndexError in line 16" in found.stderr
    kept = json.loads(found.stdout)
    assert kept["quantized"]["sqnr_db"] > 5
    assert "line 16" in kept["metric"]["problem"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine.py:none", "mine.py must define the function none"),
        ("gone.py:iou", "A metric's file must exist, got gone.py"),
        ("mine", "A metric must be written path.py:function"),
    ],
)
def test_a_metric_that_is_not_there_is_told_before_any_work(
    folder: Path, name: str, words: str
) -> None:
    found = run("evaluate", "--model", "fashion-mobilenet", "--metric", f"{folder}/{name}")
    assert found.exit_code == 2
    assert words in found.stderr
    assert "Loading" not in found.stderr


def test_a_difference_on_the_data_is_an_error_that_names_the_layer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [node("Relu", ["x"], "r", "first"), node("Abs", ["r"], "y", "second")]
    path = saved(folder / "net.onnx", model(nodes, ["n", 3]))
    np.savez(folder / "far.npz", inputs=np.full((20, 3), 300, np.float32))
    monkeypatch.setitem(
        TABLE, "Abs", Operator(lambda call: call.input_tensor(0).abs().clamp(max=200))
    )
    found = run("evaluate", "--model", path, "--data", folder / "far.npz", "--calibration", 8)
    assert found.exit_code == 2
    assert "The first layer that differs is The node 'second' (Abs)" in found.stderr


def test_open_sizes_are_asked_for_at_once(folder: Path) -> None:
    nodes = [
        node("GlobalAveragePool", ["x"], "p"),
        node("Flatten", ["p"], "f"),
        node("Mul", ["f", "z"], "y"),
    ]
    made = model(nodes, ["n", 3, "h", "w"])
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", "t"]))
    path = saved(folder / "net.onnx", made)
    found = run("cost", "--model", path)
    assert found.exit_code == 2
    assert "such as x=3,224,224; z=128" in found.stderr
    asked = answer("cost", "--model", path, "--input-shape", "x=3,6,6; z=3")
    assert [one["shape"] for one in asked["inputs"]] == [[3, 6, 6], [3]]


@pytest.mark.filterwarnings("ignore")
def test_a_report_tells_the_metric_and_no_accuracy(folder: Path) -> None:
    path, data = file_of("segments", folder), data_of("segments", folder)
    out = folder / "report.html"
    found = run("report", "--model", path, "--data", data, "--calibration", 8, "--out", out)
    assert found.exit_code == 0, found.stderr
    text = out.read_text()
    assert "no row of classes" in text
    assert "Cosine of the output" in text
    assert "Same answer as float" not in text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["segments", "tokens", "detector"])
def test_bits_are_chosen_for_it(name: str, folder: Path) -> None:
    path, data = file_of(name, folder), data_of(name, folder)
    found = answer("optimize", "--model", path, "--data", data, "--calibration", 8, "--measure",
                   "--budget", "bops=0.8", "--relative-to", "w8a8", "--bits", "4,8")  # fmt: skip
    assert found["choice"]
