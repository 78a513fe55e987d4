"""The simulated network against ONNX Runtime, which executes the same network in integers."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.config import QuantConfig
from quant.graph.operators import Kind
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.quant.qdq import integer_session
from tests.quant.trained import images, logits, trained

COUNT = 400
NETWORKS = ("fashion-resnet", "fashion-mobilenet")
FLOAT = {"Conv", "FusedConv", "Gemm", "MatMul", "Add", "GlobalAveragePool", "Relu"}


def in_integers(graph: QuantGraph, inputs: Tensor, folder: Path) -> tuple[Tensor, Counter[str]]:
    """Return the output of the network in ONNX Runtime and the operators it executed."""
    session, operators = integer_session(graph, folder)
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: part.numpy()})[0] for part in inputs.split(100)]
    return torch.from_numpy(np.concatenate(parts)), Counter(operators)


def near(graph: QuantGraph, got: Tensor, wanted: Tensor) -> float:
    """Return the share of logits at most two steps of their grid apart."""
    encoding = graph.quantizers["classifier"].encoding
    assert encoding is not None
    return float((((got - wanted) / encoding.scale).round().abs() <= 2).double().mean())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_simulation_agrees_with_the_network_executed_in_integers(
    name: str, tmp_path: Path
) -> None:
    network = trained(name)
    simulated = quantize_graph(network.graph, QuantConfig(), network.calibration)
    inputs, _ = images(COUNT)
    wanted, executed = in_integers(simulated, inputs, tmp_path)

    # the oracle is one only if the fused integer kernels are really there
    kinds = Counter(layer.kind for layer in network.graph.layers)
    assert executed["QLinearConv"] == kinds[Kind.CONV] + kinds[Kind.DEPTHWISE]
    assert executed["QLinearAdd"] == kinds[Kind.ADD]
    assert executed["QLinearGlobalAveragePool"] == kinds[Kind.AVERAGE_POOL] == 1
    assert executed["QGemm"] == kinds[Kind.LINEAR] == 1
    assert not FLOAT & executed.keys()

    got = logits(simulated, inputs)
    assert float((got.argmax(1) == wanted.argmax(1)).double().mean()) >= 0.99
    assert near(simulated, got, wanted) >= 0.98


def test_the_oracle_tells_another_network_apart(tmp_path: Path) -> None:
    network = trained("fashion-resnet")
    simulated = quantize_graph(network.graph, QuantConfig(), network.calibration)
    inputs, _ = images(200)
    wanted, _ = in_integers(simulated, inputs, tmp_path)
    weight = str(network.graph["blocks.3.conv1"].weight)
    with torch.no_grad():
        simulated.graph.stored_tensor(weight)[0].mul_(-1)  # one channel of 48
    assert near(simulated, logits(simulated, inputs), wanted) < 0.9
