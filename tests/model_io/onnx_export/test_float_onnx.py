"""The float ONNX that knows its sites, against ONNX Runtime and the graph it was made from."""

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, fx, nn

from model_io.errors import ModelError
from model_io.onnx_export.float_onnx import MarkedOnnx, export_marked_onnx
from quant.config import QuantConfig
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.node_facts import facts_of_node
from quant.passes.equalize import Equalize
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.simulation.plan import Side, plan_sites
from quant.simulation.quant_graph import QuantGraph
from tests.networks import CASES, DISTINCT, SMALL, graph_of
from tests.shared_answers import marked_once

RELATIVE = 2e-6  # sums of float32 in another order


def quantized(graph: FloatGraph) -> QuantGraph:
    return QuantGraph(graph, plan_sites(graph, QuantConfig()))


@cache
def exported(name: str) -> MarkedOnnx:
    """Return the export of a network of that name; one for all tests, so none may change it."""
    return marked_once(quantized(graph_of(name)))


def run(model: ModelProto, inputs: Tensor, *names: str) -> list[NDArray[np.float32]]:
    """Return these values of the model in ONNX Runtime, or its output."""
    shown = onnx.ModelProto.FromString(model.SerializeToString())
    if names:
        del shown.graph.output[:]
        shown.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
        )
    session = ort.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(None, {"input": inputs.numpy()})
    return found


def assert_near(got: NDArray[np.float32], wanted: Tensor) -> None:
    expected = wanted.detach().numpy()
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= RELATIVE * np.abs(expected).max()


class Recorder(fx.Interpreter):
    """Keeps what leaves every quantizer."""

    def __init__(self, graph: QuantGraph) -> None:
        super().__init__(graph.module)
        self.sites: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if n.op == "call_module":
            self.sites[facts_of_node(n).site] = value
        return value


@pytest.mark.parametrize("name", DISTINCT)
def test_it_computes_what_the_graph_computes_with_any_batch(name: str) -> None:
    made = exported(name)
    onnx.checker.check_model(made.model, full_check=True)
    for count in (1, 3):
        inputs = CASES[name].inputs(count)
        assert_near(run(made.model, inputs)[0], graph_of(name)(inputs))


@pytest.mark.parametrize("name", DISTINCT)
def test_every_site_stands_at_its_value(name: str) -> None:
    made, simulated = exported(name), quantized(graph_of(name))
    inputs = CASES[name].inputs(2)
    recorder = Recorder(simulated)
    with torch.inference_mode(), simulated.as_float_network():
        recorder.run(inputs)
    activations = [site.name for site in simulated.sites if site.side is Side.ACTIVATIONS]
    tensors = [made.tensors[site].name for site in activations]
    for place, got in zip(activations, run(made.model, inputs, *tensors), strict=True):
        assert_near(got, recorder.sites[place])
    held = {tensor.name: tensor for tensor in made.model.graph.initializer}
    for site in simulated.sites:
        if site.side is Side.WEIGHTS:
            tensor = made.tensors[site.name]
            wanted = recorder.sites[site.name].permute(tensor.axes).detach().numpy()
            assert np.array_equal(numpy_helper.to_array(held[tensor.name]), wanted)


@pytest.mark.parametrize("name", DISTINCT)
def test_names_are_those_of_the_layers_and_each_stands_once(name: str) -> None:
    made, graph = exported(name), graph_of(name)
    values = [value for node in made.model.graph.node for value in node.output]
    values += [held.name for held in made.model.graph.initializer]
    assert len(set(values)) == len(values)
    assert len({tensor.name for tensor in made.tensors.values()}) == len(made.tensors)
    nodes = [node.name for node in made.model.graph.node]
    assert len(set(nodes)) == len(nodes)
    layers = {layer.name: layer for layer in graph.layers}
    assert made.nodes == {layer: layer for layer in layers if layer != "input"}
    assert set(made.nodes.values()) <= set(nodes)
    for name_, layer in layers.items():
        assert made.tensors[name_].name == name_
        if layer.weight is not None and name != "shared":
            assert made.tensors[f"{name_} weight"].name == layer.weight
        assert (name_ in made.biases) == (layer.bias is not None)
    assert all(node.name.partition("/")[0] in {*layers, "output"} for node in made.model.graph.node)


def test_a_matrix_for_matmul_is_held_transposed_and_says_so() -> None:
    made = exported("attention")
    held = {t.name: tuple(t.dims) for t in made.model.graph.initializer}
    place = made.tensors["head weight"]
    assert (held[place.name], place.axes, place.file_axis(0)) == ((3, 12), (0, 1), 0)  # a Gemm
    place = made.tensors["q weight"]
    assert (place.axes, place.file_axis(0), place.file_axis(1)) == ((1, 0), 1, 0)
    assert not [
        n for n in made.model.graph.node if n.op_type == "Transpose" and held.get(n.input[0])
    ]


def test_a_weight_that_two_calls_read_has_a_place_for_each_grid() -> None:
    made = exported("shared")
    assert made.tensors["conv weight"].name == "conv.weight"
    assert made.tensors["conv_2 weight"].name == "conv.weight_2"


def test_two_grids_never_fall_on_one_value() -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(x) * torch.sigmoid(x)

    graph = capture_graph(Twice(), (4,))
    made = export_marked_onnx(quantized(graph))
    assert len({tensor.name for tensor in made.tensors.values()}) == len(graph.layers) == 4
    inputs = torch.randn(3, 4)
    assert_near(run(made.model, inputs)[0], graph(inputs))


@pytest.mark.parametrize("name", ["plain", "transposed", "shared"])
def test_folded_and_equalized_networks_leave_as_they_are(name: str) -> None:
    graph = Equalize()(FoldBatchNorm()(graph_of(name))).graph
    inputs = CASES[name].inputs(3)
    assert_near(run(export_marked_onnx(quantized(graph)).model, inputs)[0], graph(inputs))


def test_biases_that_came_later_are_there_and_named() -> None:
    graph = FoldBatchNorm()(graph_of("functional"))
    made = export_marked_onnx(quantized(graph))
    held = {t.name: numpy_helper.to_array(t) for t in made.model.graph.initializer}
    layers = [layer for layer in graph.layers if layer.weight]
    assert [layer.name for layer in layers] == list(made.biases)
    for layer in layers:
        assert np.array_equal(
            held[made.biases[layer.name].name], graph.bias_of_layer(layer).numpy()
        )


def test_a_network_of_one_batch_size_keeps_it() -> None:
    graph = capture_graph(SMALL["bare"].model(), (5,))
    graph.batch = 4
    sizes = export_marked_onnx(quantized(graph)).model.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_value for size in sizes] == [4, 5]


def test_the_same_network_gives_the_same_file_without_notes_of_this_machine() -> None:
    first = exported("kitchen").model
    second = export_marked_onnx(quantized(graph_of("kitchen"))).model
    data = first.SerializeToString()
    assert data == second.SerializeToString()
    assert b".py" not in data
    assert b"val_" not in data
    assert first.producer_name == "QuantScope"


def test_an_operation_without_words_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = torch.special.bessel_j0(x)
            return found

    graph = capture_graph(Odd(), (4,))
    with pytest.raises(ModelError, match=r"got prims\.bessel_j0\. Replace it"):
        export_marked_onnx(quantized(graph))
