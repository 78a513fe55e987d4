"""A dump beside the simulation: ONNX Runtime agrees, planted faults are located and explained."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.deployment.device_dump.match_tensors import match_tensors, real_readings
from benchmarks.device_dumps import (
    Fault,
    compare_record,
    plant,
    power_of_two,
    quantized_network,
    record,
)
from data_io.dump_files import DumpedTensor
from model_io.qdq_export.export_qdq import export_qdq_onnx
from model_io.qdq_export.simulate_file import simulate_written_file
from model_io.runtime.executed_model import open_exported_model
from quant.config import uniform_config
from quant.errors import QuantError
from quant.simulation.quant_graph import QuantGraph
from tests.networks import CASES, graph_of

NAME = "kitchen"


@cache
def case(*, steps_of_two: bool = False) -> tuple[QuantGraph, Tensor]:
    """A small network with branches, quantized to 8 bits, and 16 images."""
    images = CASES[NAME].inputs(16)
    config = power_of_two(uniform_config(8, 8)) if steps_of_two else uniform_config(8, 8)
    return quantized_network(graph_of(NAME), images, config), images


def test_onnx_runtime_agrees_but_for_the_biases_that_the_file_rounds() -> None:
    """The file has int32 biases: beside a simulation with them nothing differs."""
    quantized, images = case()
    made = export_qdq_onnx(quantized)
    values = {
        name: one.numpy() for name, one in open_exported_model(made).layer_values(images).items()
    }
    alike = compare_record(simulate_written_file(quantized, made), images, values)
    assert alike.first is None
    assert alike.sentence == f"All {len(values)} recorded layers agree with the simulation."
    found = compare_record(quantized, images, values)
    assert {one.reason.reason for one in found.divergences if one.reason} == {"int32 bias"}


def test_a_device_without_a_fault_agrees() -> None:
    quantized, images = case()
    last = quantized.graph.layers[-1].name
    found = compare_record(quantized, images, record(quantized, images, Fault("", last)))
    assert found.divergences == ()
    assert found.missing == ()


@pytest.mark.parametrize(
    ("kind", "variant"),
    [
        ("rounding", 1),
        ("other scale", 0),
        ("missing clip", 0),
        ("fused operation", 0),
        ("per-tensor weights", 1),
        ("other zero point", 1),
        ("channel order", 2),
        ("bias", 0),
    ],
)
def test_a_planted_fault_is_located_and_explained(kind: str, variant: int) -> None:
    quantized, images = case(steps_of_two=kind == "rounding")
    planted = plant(quantized, images, kind, variant)
    assert planted is not None
    fault, dump = planted
    found = compare_record(quantized, images, dump)
    assert found.first is not None
    assert found.first.layer == fault.layer
    assert found.first.reason is not None
    assert found.first.reason.reason == kind, found.sentence
    assert [one.layer for one in found.divergences] == [fault.layer]


def test_without_the_layer_itself_the_segment_is_named() -> None:
    """The layer's own tensor is not recorded: the next one differs, and both are named."""
    quantized, images = case()
    layers = [layer for layer in quantized.graph.layers if layer.weight is not None]
    behind = layers[1]
    before = next(one for one in quantized.graph.layers if one.output == behind.inputs[0])
    dump = record(quantized, images, Fault("fused operation", before.name))
    del dump[before.name]
    found = compare_record(quantized, images, dump)
    assert found.first is not None
    assert before.name in found.first.unrecorded
    assert found.first.reason is not None
    assert found.first.reason.reason == "fused operation"


def test_names_layouts_and_types_of_runtimes_are_read() -> None:
    quantized, images = case()
    layer = next(one for one in quantized.graph.layers if one.weight and len(one.shape) == 4)
    encoding = quantized.quantizers[layer.name].encoding
    assert encoding is not None
    whole = torch.from_numpy(record(quantized, images, Fault("", layer.name))[layer.name])
    codes = encoding.quantize(whole).numpy()
    shift = 128 if encoding.qmin == 0 else 0
    signed = (codes - shift).astype(np.int8)
    path = layer.name.replace(".", "/")
    for name, values in {
        f"/{path}/Conv_output_0": whole.numpy(),
        f"model_{layer.name.replace('.', '_')}:0": np.moveaxis(whole.numpy(), 1, -1),
        f"{path}/Relu_output_0_QuantizeLinear_Output": signed,
        layer.node: np.moveaxis(signed, 1, -1),
    }.items():
        tensors = [DumpedTensor(name, values)]
        match = match_tensors(tensors, quantized.graph.layers, {}, len(images))
        readings = real_readings(match.tensors[layer.name], encoding)
        assert any(torch.equal(one, whole) for one in readings), name
    raw = np.frombuffer(np.ascontiguousarray(whole.numpy()).tobytes(), np.uint8)
    named = match_tensors(
        [DumpedTensor("t17", raw, raw=True)], quantized.graph.layers, {"t17": layer.name}, 16
    )
    assert any(
        torch.equal(one, whole) for one in real_readings(named.tensors[layer.name], encoding)
    )


def test_a_dump_of_another_network_is_told() -> None:
    layers = case()[0].graph.layers
    tensors = [DumpedTensor("elsewhere", np.zeros((2, 3), np.float32))]
    with pytest.raises(QuantError, match="Map names to layers with --names"):
        match_tensors(tensors, layers, {}, None)
    with pytest.raises(QuantError, match="'nowhere' is none"):
        match_tensors(tensors, layers, {"elsewhere": "nowhere"}, None)
