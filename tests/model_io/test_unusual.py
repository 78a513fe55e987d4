"""Unusual networks come in, export and compute the same, or are refused by name in a sentence."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.network import prepare_network
from model_io.errors import ModelError
from model_io.onnx_import.load_onnx import load_onnx_network
from model_io.qdq_export.export_qdq import export_qdq_onnx
from model_io.qdq_export.simulate_file import simulate_written_file
from model_io.runtime.onnx_runtime import RuntimeSession
from quant.config import uniform_config
from quant.encoding import Encoding
from quant.errors import QuantError
from quant.graph.float_graph import FloatGraph
from tests.model_io.onnx_files import model, node, saved, weight
from tests.model_io.qdq_cases import calibrated

Shape = tuple[int, ...]
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")


class Written(nn.Module):
    """A network of a convolution, a linear layer, a norm and a function that uses them."""

    def __init__(self, run: Callable[["Written", Tensor], object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.linear, self.empty, self.from_empty = nn.Linear(4, 3), nn.Linear(4, 0), nn.Linear(0, 3)
        self.run = run

    def forward(self, x: Tensor) -> object:
        """Return what the function returns."""
        return self.run(self, x)


def unpool(net: Written, x: Tensor) -> Tensor:
    y, places = F.max_pool2d(net.conv(x), 2, return_indices=True)
    return F.max_unpool2d(y, places, [2, 2])


COMING_IN: dict[str, tuple[Shape, Callable[[Written, Tensor], object]]] = {
    "no operation": ((3, 4), lambda _, x: x),
    "the input too": ((4,), lambda net, x: (net.linear(x), x)),
    "the input first": ((4,), lambda net, x: (x, net.linear(x))),
    "a part of no values": ((4,), lambda net, x: torch.cat([net.empty(x), net.linear(x)], 1)),
    "the places of a pool": (
        (3, 8, 8), lambda net, x: F.max_pool2d(net.conv(x), 2, return_indices=True),
    ),
    "a clip behind a ReLU": ((4,), lambda net, x: net.linear(x).relu().clamp(max=0.3)),
    "a pool taken back": ((3, 8, 8), unpool),
}  # fmt: skip


def prepare(net: nn.Module, shape: Shape) -> FloatGraph:
    return prepare_network("net", net.eval(), shape, "digest").graph


def assert_file_computes_the_simulation(
    net: nn.Module, shape: Shape, output: Encoding | None = None
) -> None:
    quantized = calibrated(prepare(net, shape), uniform_config(8, 8))
    if output is not None:
        quantized.quantizers[quantized.sites[-1].name].set_encoding(output)
    made = export_qdq_onnx(quantized)
    inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    wanted = simulate_written_file(quantized, made).run(inputs)
    found = RuntimeSession(made.model, optimize=False).run(inputs)
    wanted, found = (one if isinstance(one, tuple) else (one,) for one in (wanted, found))
    assert len(wanted) == len(found)
    for want, got in zip(wanted, found, strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", COMING_IN)
def test_it_comes_in_and_its_file_computes_the_simulation(name: str) -> None:
    shape, run = COMING_IN[name]
    assert_file_computes_the_simulation(Written(run), shape)


def test_both_limits_of_two_clips_hold_in_an_encoding_that_reaches_beyond() -> None:
    """The exporter joins the clips."""
    net = Written(lambda net, x: net.linear(x * 4).clamp(max=0.5).clamp(min=-0.25))
    wide = Encoding(torch.tensor(1 / 128), torch.tensor(128.0), 0, 255)
    assert_file_computes_the_simulation(net, (4,), wide)


def test_a_grid_of_affine_maps_comes_in_and_its_file_computes_the_simulation(
    tmp_path: Path,
) -> None:
    nodes = [
        node("Flatten", ["x"], "f"), node("Gemm", ["f", "w"], "l", "fc"),
        node("Reshape", ["l", "shape"], "t"),
        node("AffineGrid", ["t", "size"], "g", align_corners=1),
        node("GridSample", ["x", "g"], "y", "sample"),
    ]  # fmt: skip
    held = {"w": weight(16, 6), "shape": np.array([-1, 2, 3]), "size": np.array([2, 1, 3, 5])}
    got = load_onnx_network(
        saved(tmp_path / "net.onnx", model(nodes, ["n", 1, 4, 4], held, opset=20))
    )
    assert_file_computes_the_simulation(got.module, got.input_shape)


def test_a_concatenation_with_a_stored_part_of_no_values_comes_in(tmp_path: Path) -> None:
    nodes = [node("Concat", ["x", "none"], "c", axis=1), node("Gemm", ["c", "w"], "y", "fc")]
    held = {"none": np.zeros((1, 0), np.float32), "w": weight(3, 4)}
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, [1, 3], held)))
    assert_file_computes_the_simulation(got.module, got.input_shape)


@pytest.mark.parametrize(
    ("kind", "gates", "named", "told"),
    [
        ("LSTM", 4, ["HardSigmoid", "Tanh", "Tanh"], "Sigmoid, Tanh, Tanh"),
        ("GRU", 3, ["Sigmoid", "Relu"], "Sigmoid, Tanh"),
        ("RNN", 1, ["Affine"], "Tanh"),
    ],
)
def test_other_activations_of_a_recurrent_layer_are_refused_by_name(
    tmp_path: Path, kind: str, gates: int, named: list[str], told: str
) -> None:
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    layer = node(kind, ["x", "w", "r"], "y", "rnn", activations=named, hidden_size=4, **more)
    held = {"w": weight(1, 4 * gates, 3), "r": weight(1, 4 * gates, 4)}
    sentence = rf"'rnn' \({kind}\).* must have {told} as .*it names {', '.join(named)}\)"
    with pytest.raises(ModelError, match=sentence):
        load_onnx_network(saved(tmp_path / "net.onnx", model([layer], [2, 1, 3], held)))


def test_a_layer_without_weights_is_refused_by_name() -> None:
    net = Written(lambda net, x: net.from_empty(net.empty(x)))
    with pytest.raises(QuantError, match=r"from_empty has a weight of shape \(3, 0\), which holds"):
        prepare(net, (4,))


def test_an_infinite_bias_is_refused_by_name() -> None:
    net = Written(lambda net, x: net.linear(x))
    with torch.no_grad():
        net.linear.bias[1] = -math.inf
    with pytest.raises(QuantError, match="1 of 3 in linear are NaN or infinite"):
        prepare(net, (4,))


@pytest.mark.parametrize("folded", [True, False])
def test_a_batch_norm_of_negative_variance_is_refused_by_name(folded: bool) -> None:
    net = Written(lambda net, x: net.norm(net.conv(x) if folded else net.conv(x).relu()))
    assert net.norm.running_var is not None
    net.norm.running_var[2] = -1
    with pytest.raises(QuantError, match="1 of 4 in norm are below 0"):
        prepare(net, (3, 8, 8))


def test_an_lstm_with_stored_states_keeps_the_batch_of_the_file(tmp_path: Path) -> None:
    """Any other batch would read outside the states: torch's LSTM does not look."""
    nodes = [
        node("Transpose", ["x"], "t", perm=[1, 0, 2]),
        node("LSTM", ["t", "w", "r", "", "", "h", "c"], "o", "rnn", hidden_size=4),
        node("Transpose", ["o"], "u", perm=[2, 0, 1, 3]), node("Flatten", ["u"], "y"),
    ]  # fmt: skip
    held = {"w": weight(1, 16, 3), "r": weight(1, 16, 4), "h": weight(1, 4, 4)}
    path = tmp_path / "net.onnx"
    got = load_onnx_network(saved(path, model(nodes, [4, 5, 3], {**held, "c": weight(1, 4, 4)})))
    assert got.batch == 4
    with pytest.raises(ModelError, match=r"states of shape \(1, 4, 4\), got \(1, 1, 4\)"):
        load_onnx_network(saved(path, model(nodes, [4, 5, 3], {**held, "c": weight(1, 1, 4)})))
