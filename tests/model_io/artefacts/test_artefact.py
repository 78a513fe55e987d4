"""Each artefact holds what its next tool needs, was checked, and says so."""

import io
import json
import zipfile
from dataclasses import replace
from functools import cache

import onnx
import pytest

from model_io.artefacts import formats as artefact_makers
from model_io.artefacts.artefact import ArtefactSource
from model_io.artefacts.formats import FORMATS
from model_io.artefacts.pt2_program import write_pt2_program
from model_io.artefacts.viewer_overlays import LayerNumber
from model_io.errors import ModelError
from quant.config import uniform_config
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from tests.networks import CASES, graph_of


@cache
def source(weight_bits: int = 6) -> ArtefactSource:
    graph = graph_of("kitchen")
    statistics = drain_steps(Calibrate(8)(graph, [CASES["kitchen"].inputs(8)]))
    config = uniform_config(weight_bits, 8)
    values = {layer.name: float(number) for number, layer in enumerate(graph.layers)}
    metrics = (LayerNumber("SQNR", "dB", values),)
    return ArtefactSource(
        "kitchen", graph, quantize_graph(graph, config, statistics), config, metrics
    )


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_is_made_and_checked(name: str) -> None:
    made = FORMATS[name].make(source())
    assert made.checks
    assert made.size_bytes > 0
    assert all(file.startswith("kitchen.") for file in made.files)
    assert made.main_file in made.command or "kitchen.onnx" in made.command
    file, content = made.pack_files("kitchen")
    if len(made.files) == 1:
        assert (file, content) == (made.main_file, made.files[made.main_file])
    else:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.namelist() == list(made.files)
            assert {n: archive.read(n) for n in made.files} == made.files
    for file, content in made.files.items():
        if file.endswith(".onnx"):
            onnx.checker.check_model(onnx.load_from_string(content))
        elif not file.endswith(".pt2"):
            assert json.loads(content)


def test_what_a_format_cannot_hold_is_told() -> None:
    assert any("6 bits" in note for note in FORMATS["aimet-2.0.0"].make(source()).notes)
    assert FORMATS["aimet-1.0.0"].make(source()).notes == ()


@pytest.mark.parametrize(("bits", "whole"), [(8, True), (32, False)])
def test_layers_that_run_in_whole_numbers_are_a_check_only_if_all_do(
    bits: int, whole: bool
) -> None:
    made = FORMATS["onnx-qdq"].make(source(bits))
    told = {
        kind: [said for said in found if "in whole numbers" in said]
        for kind, found in (("checks", made.checks), ("notes", made.notes))
    }
    assert [len(told["checks"]), len(told["notes"])] == [whole, not whole]
    (sentence,) = (*told["checks"], *told["notes"])
    count, of, layers = sentence.split()[:3]
    assert of == "of"
    assert (count == layers) == whole


def test_the_converter_gets_both_files() -> None:
    command = FORMATS["aimet-1.0.0"].make(source()).command
    assert command == (
        "qairt-converter --input_network kitchen.onnx "
        "--quantization_overrides kitchen.encodings --output_path kitchen.dlc"
    )


def test_a_file_that_is_not_what_it_should_be_is_not_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = source()
    floating = write_pt2_program(quantize_graph(made.graph, uniform_config(32, 32)))
    monkeypatch.setattr(artefact_makers, "write_pt2_program", lambda _: floating)
    with pytest.raises(ModelError, match="compute what the simulation does"):
        FORMATS["pt2"].make(made)
    half = {"version": "2.0.0", "encodings": [
        {"name": "conv1", "y_scale": 0.5, "output_dtype": "uint8"}]}  # fmt: skip
    with pytest.raises(ModelError, match="come back as they went"):
        artefact_makers._describe_read_back(made, json.dumps(half))


def test_viewers_need_numbers() -> None:
    with pytest.raises(ModelError, match="numbers of layers"):
        FORMATS["netron"].make(replace(source(), metrics=()))
