"""Encodings of a whole network: they name the tensors of its ONNX file, and bring it back."""

import json
from functools import cache

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from analysis.evaluation.measures import sqnr_db
from model_io.encodings.aimet_read import read_aimet_encodings
from model_io.encodings.apply_to_network import apply_file_encodings, encoding_targets_by_tensor
from model_io.encodings.export_encodings import (
    export_network_encodings,
    model_with_quantized_weights,
)
from model_io.errors import ModelError
from model_io.onnx_export.float_onnx import MarkedOnnx
from quant.config import LayerConfig, uniform_config
from quant.passes.calibrate import Calibrate
from quant.passes.use_encodings import UseEncodings
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.networks import CASES, graph_of
from tests.shared_answers import marked_once

NAMES = ("kitchen", "perceptron", "transposed", "attention", "fashion-mobilenet")


@cache
def made(name: str) -> tuple[QuantGraph, MarkedOnnx]:
    graph = graph_of(name)
    statistics = drain_steps(Calibrate(8)(graph, [CASES[name].inputs(8)]))
    quantized = quantize_graph(graph, uniform_config(8, 8), statistics)
    return quantized, marked_once(quantized)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", ["2.0.0", "1.0.0"])
@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_tensor_of_the_file_and_every_site_has_one(name: str, version: str) -> None:
    quantized, marked = made(name)
    found = export_network_encodings(quantized, marked, version, LayerConfig())
    graph = marked.model.graph
    weights = {tensor.name for tensor in graph.initializer}
    values = {value for node in graph.node for value in node.output}
    values |= {value.name for value in graph.input}
    for encoding in read_aimet_encodings(found.text, "e").encodings:
        assert encoding.tensor in weights | values
        if version == "1.0.0":
            assert (encoding.tensor in weights) == encoding.parameter
    names = {encoding.tensor for encoding in read_aimet_encodings(found.text, "e").encodings}
    assert {tensor.name for tensor in marked.tensors.values()} <= names
    assert len(names) == found.tensors


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", ["2.0.0", "1.0.0"])
@pytest.mark.parametrize("name", NAMES)
def test_they_bring_the_simulation_back(name: str, version: str) -> None:
    quantized, marked = made(name)
    text = export_network_encodings(quantized, marked, version, LayerConfig()).text
    graph = graph_of(name)
    given = apply_file_encodings(
        read_aimet_encodings(text, "e").encodings, graph, encoding_targets_by_tensor(graph, {}), "e"
    )
    assert not given.uncovered
    back = quantize_graph(graph, given.config)
    assert not UseEncodings(given.encodings).apply_at_once(back).kept
    inputs = CASES[name].inputs(8)
    with torch.inference_mode():
        assert torch.equal(back(inputs), quantized(inputs))


def test_biases_are_whole_numbers_on_the_grid_of_the_products() -> None:
    quantized, marked = made("kitchen")
    text = export_network_encodings(quantized, marked, "2.0.0", LayerConfig()).text
    records = {record["name"]: record for record in json.loads(text)["encodings"]}
    conv, bias = records["left.weight"], records["left.bias"]
    source = quantized.quantizers["conv2"].encoding
    layer = next(layer for layer in quantized.graph.layers if layer.name == "left")
    assert source is not None
    assert layer.inputs
    assert bias["output_dtype"] == "int32"
    assert "y_zero_point" not in bias
    add = quantized.quantizers["add"].encoding or source
    wanted = np.array(conv["y_scale"], np.float32) * add.scale.numpy()
    assert bias["y_scale"] == pytest.approx(wanted.tolist())


def test_the_float_file_holds_weights_as_they_are_simulated() -> None:
    quantized, marked = made("perceptron")
    model = model_with_quantized_weights(quantized, marked)
    assert model.graph.node == marked.model.graph.node
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for site in quantized.sites:
        if site.side is not Side.WEIGHTS:
            continue
        place = marked.tensors[site.name]
        encoding = quantized.quantizers[site.name].encoding
        assert encoding is not None
        own = torch.from_numpy(np.transpose(held[place.name], np.argsort(place.axes)).copy())
        assert torch.equal(encoding.fake_quantize(own), own), "putting it there again does nothing"
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = CASES["perceptron"].inputs(8)
    (got,) = session.run(None, {"input": inputs.numpy()})
    with torch.inference_mode(), quantized.only_side(Side.WEIGHTS):
        wanted = quantized(inputs)
    assert sqnr_db(wanted, torch.from_numpy(got)) > 90


def test_a_network_without_ranges_is_refused() -> None:
    quantized = quantize_graph(graph_of("perceptron"), uniform_config(8, 8))
    with pytest.raises(ModelError, match="Calibrate first"):
        export_network_encodings(quantized, made("perceptron")[1], "2.0.0", LayerConfig())
