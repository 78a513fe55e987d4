"""export and convert: what they write, what they say of it, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import pytest
import torch
from typer.testing import CliRunner

from analysis.runs.run_store import RunStore
from cli import app
from model_io.load import load_model
from quant.graph.capture import capture_graph
from sample_models.registry import sample_named
from tests.analysis.results import evaluation, layer_cost, report, run
from tests.model_io.onnx_files import saved, small

MODEL = "fashion-resnet"
QUICK = ("--samples", "40", "--calibration", "20")

Ask = Callable[..., Any]


@pytest.fixture
def ask() -> Ask:
    """Return a function that runs a command and returns the JSON it printed."""

    def run(*arguments: str | Path) -> Any:
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run


def refusal(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()[-1:]) == 1
    return result.stderr.strip().splitlines()[-1]


def test_a_checked_file_runs_elsewhere_and_agrees(ask: Ask, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    got = ask("export", "--model", MODEL, "--format", "onnx-qdq", "--out", out, "--check", *QUICK)
    assert [(file["file"], file["bytes"]) for file in got["files"]] == [
        (str(out), out.stat().st_size)
    ]
    found = got["execution"]
    assert found["samples"] == 40
    assert found["integer_kernels"]["top1"] >= 0.97
    assert found["integer_kernels"]["sqnr_db"] > 30
    assert set(found["top1"]) == {"float", "simulated", "executed", "plain"}
    assert set(found["integer_layers"]) == {
        layer.name
        for layer in capture_graph(sample_named(MODEL).build_network(), (1, 28, 28)).layers
        if layer.kind != "norm"
    } - {"input"}
    assert found["worst_layer"] in found["layer_sqnr_db"]
    assert found["layer_sqnr_db"]["input"] is None  # no noise at all
    assert min(found["latency"]["float_s"], found["latency"]["executed_s"]) > 0
    session = ort.InferenceSession(out)
    (logits,) = session.run(None, {"input": torch.zeros(3, 1, 28, 28).numpy()})
    assert logits.shape == (3, 10)
    assert "small.onnx" in got["command"]


def test_a_file_far_from_the_run_of_its_name_is_warned_of(tmp_path: Path) -> None:
    """The check is part of making the file; the experiment is named after a run at 94 %."""
    out, told = tmp_path / "s.onnx", tmp_path / "mine.json"
    common = ("--model", MODEL, *QUICK)
    measured = CliRunner().invoke(app, ["evaluate", *common])
    tried = json.loads(measured.stdout)["experiment"]
    told.write_text(json.dumps({**tried, "name": "mine"}))
    ask = ["export", *common, "--format", "onnx-qdq", "--out", str(out), "--runs", str(tmp_path)]
    ask += ["--experiment", str(told)]
    digests = {name: tried[name] for name in ("model_digest", "data_digest")}
    RunStore(tmp_path).save_run(
        run("mine", report(layer_cost("a")), evaluation(hits=820), **digests)
    )
    good = json.loads(CliRunner().invoke(app, ask).stdout)
    assert good["warnings"] == []
    assert good["file_check"]["samples"] == 40
    assert good["file_check"]["agreement"] >= 0.9
    assert good["file_check"]["top1"] > 0.7
    far = run("mine", report(layer_cost("a")), evaluation(lost=700), created="2099", **digests)
    RunStore(tmp_path).save_run(far)
    bad = CliRunner().invoke(app, ask)
    (warning,) = json.loads(bad.stdout)["warnings"]
    assert "must be the network of the run 'mine' that it is named after" in warning
    assert f"Warning: {warning}" in bad.stderr


def test_float_weights_stand_between_pairs(ask: Ask, tmp_path: Path) -> None:
    out = tmp_path / "f.onnx"
    arguments = ("--model", MODEL, "--format", "onnx-qdq", "--out", out, *QUICK)
    ask("export", *arguments, "--weights", "float")
    held = {tensor.name: tensor.data_type for tensor in onnx.load(out).graph.initializer}
    assert held["classifier.weight"] == onnx.TensorProto.FLOAT


def test_encodings_bring_their_float_file_and_spare_others(ask: Ask, tmp_path: Path) -> None:
    out = tmp_path / "r.encodings"
    arguments = ("export", "--model", MODEL, "--format", "aimet-2.0.0", "--out", out, *QUICK)
    got = ask(*arguments)
    beside = tmp_path / "r.onnx"
    assert {file["file"] for file in got["files"]} == {str(out), str(beside)}
    assert json.loads(out.read_text())["version"] == "2.0.0"
    beside.write_bytes(b"another")
    assert "must not overwrite another file" in refusal(*arguments)
    assert beside.read_bytes() == b"another"


def test_a_configuration_that_needs_no_images_exports_without_any(ask: Ask, tmp_path: Path) -> None:
    source, out = saved(tmp_path / "in.onnx", small("a/")), tmp_path / "out.onnx"
    bits = ("--weight-bits", "4", "--activation-bits", "32")
    ask("export", "--model", source, "--format", "onnx-qdq", "--out", out, *bits)
    kinds = {tensor.data_type for tensor in onnx.load(out).graph.initializer}
    assert onnx.TensorProto.INT4 in kinds


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--format", "onnx-qdq2", "--out", "x.onnx"), "must be one of onnx-qdq, onnx-qdq-float"),
        (("--format", "pt2", "--out", "x.pt2", "--weights", "float"), "--weights float is for"),
        (("--format", "pt2", "--out", "x.pt2", "--check"), "--check runs ONNX files"),
        (("--format", "pt2", "--out", "nowhere/x.pt2"), "in a folder that exists"),
    ],
)
def test_what_cannot_be_exported_is_said_at_once(arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in refusal("export", "--model", MODEL, *arguments)


def test_an_imported_network_is_kept_with_its_names(ask: Ask, tmp_path: Path) -> None:
    source, out = saved(tmp_path / "in.onnx", small("block/")), tmp_path / "kept.pt2"
    got = ask("convert", "--model", source, "--out", out)
    loaded, back = load_model(source), load_model(out)
    names = [layer.name for layer in capture_graph(loaded.module, loaded.expected_inputs).layers]
    program = back.program
    assert program is not None
    assert (
        [layer.name for layer in capture_graph(program, back.expected_inputs).layers]
        == names
        == got["layers"]
    )
    assert any("block/conv" in name for name in names)
    assert got["imported"]["opset"] == 17
    assert got["difference"] <= 1e-6
    assert got["size_bytes"] == out.stat().st_size


def test_convert_writes_pt2_alone(tmp_path: Path) -> None:
    source = saved(tmp_path / "in.onnx", small("b/"))
    assert "must end in .pt2" in refusal("convert", "--model", source, "--out", tmp_path / "x.onnx")
