"""Weights with a width for each channel in a Q/DQ file: bit-exact in one container type."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from model_io.encodings.export_encodings import network_encodings
from model_io.qdq_export.export_qdq import CHANNEL_BITS_KEY, export_qdq_onnx
from model_io.qdq_export.simulate_file import simulate_written_file
from model_io.qdq_export.weights import WeightStyle
from quant.channel_widths import (
    config_with_channel_widths,
    weighted_channel_layers,
    widths_by_variance,
)
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.simulation.quant_graph import QuantGraph
from quant.spec import read_widths_text
from tests.model_io.qdq_cases import calibrated, config
from tests.networks import CASES, graph_of
from tests.shared_answers import marked_once

NAME = next(iter(CASES))


def made(choices: tuple[int, ...]) -> QuantGraph:
    graph = FoldBatchNorm()(graph_of(NAME))
    widths = widths_by_variance(graph, sum(choices) / len(choices), choices)
    return calibrated(graph, config_with_channel_widths(config(8, 8), widths))


@pytest.mark.parametrize("style", WeightStyle)
@pytest.mark.parametrize(
    ("choices", "kinds"), [((1, 2, 4), {"INT4"}), ((1, 2, 4, 8), {"INT4", "INT8"})]
)
def test_weights_are_the_simulation_s_to_the_last_bit(
    style: WeightStyle, choices: tuple[int, ...], kinds: set[str]
) -> None:
    quantized = made(choices)
    file = export_qdq_onnx(quantized, style)
    session = ort.InferenceSession(file.model.SerializeToString(), _plain_options())
    inputs = CASES[NAME].inputs(8)
    (logits,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    with torch.no_grad():
        wanted = simulate_written_file(quantized, file)(inputs).numpy()
    step = float(quantized.quantizers[quantized.graph.layers[-1].name].encoding.scale)  # type: ignore[union-attr]
    assert np.abs(logits - wanted).max() <= step * 1.001
    told = {entry.key: entry.value for entry in file.model.metadata_props}
    texts = json.loads(told[CHANNEL_BITS_KEY])
    held = {one.name: one for one in file.model.graph.initializer}
    met = set()
    for layer in weighted_channel_layers(quantized.graph):
        site = f"{layer.name} weight"
        encoding, place = quantized.quantizers[site].encoding, file.marked.tensors[site]
        spec = quantized.quantizers[site].site.spec
        assert encoding is not None
        weight = quantized.graph.stored_tensor(str(layer.weight)).detach()
        if spec.channel_bits:
            assert read_widths_text(texts[place.name], "w") == spec.channel_bits
        if style is WeightStyle.FLOAT:
            continue
        codes = held[f"{place.name}_quantized"]
        met.add(onnx.TensorProto.DataType.Name(codes.data_type))
        array = numpy_helper.to_array(codes).astype(np.float32)
        assert np.array_equal(array, encoding.quantize(weight).numpy().transpose(place.axes))
    assert style is WeightStyle.FLOAT or met <= kinds


def _plain_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def test_encodings_give_the_widest_channel() -> None:
    quantized = made((1, 2, 4, 8))
    marked = marked_once(quantized)
    encodings = {encoding.tensor: encoding for encoding in network_encodings(quantized, marked)}
    for layer in weighted_channel_layers(quantized.graph):
        spec = quantized.quantizers[f"{layer.name} weight"].site.spec
        assert encodings[marked.tensors[f"{layer.name} weight"].name].bits == spec.bits
