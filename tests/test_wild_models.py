"""Architectures as people bring them: a part of the matrix of benchmarks/wild_models.py."""

import pytest
import torch

from analysis.cost.workload import build_workload
from analysis.network import prepare_network
from quant.config import uniform_config
from quant.errors import CaptureError
from quant.inputs import draw_batch, tensors_of_batch
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from tests.networks_wild import VISION
from tests.networks_wild_sequences import SEQUENCES

WILD = {**VISION, **SEQUENCES}
# (name, weights with encodings, tensors that stay float)
PART = [
    ("MobileNetV3", 7, 0), ("ConvNeXt", 5, 1), ("Swin", 5, 0), ("BERT", 6, 0), ("LSTM", 3, 0),
    ("LSTM, both ways, two layers", 5, 0), ("GRU", 3, 0), ("DLRM", 4, 0), ("STFT front end", 2, 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "weights", "floating"), PART)
def test_an_architecture_comes_in_whole(name: str, weights: int, floating: int) -> None:
    torch.manual_seed(0)
    wild = WILD[name]
    model = wild.build().eval()
    network = prepare_network(name, model, wild.inputs, "digest")  # 32 bits are float, or it raises
    graph = network.graph
    inputs = draw_batch(graph.inputs, 3)
    expected = tensors_of_batch(model(*tensors_of_batch(inputs)))[0].detach()
    torch.testing.assert_close(graph(inputs), expected, rtol=1e-4, atol=1e-5)
    assert graph.batch is None
    assert sum(bool(layer.weight) for layer in graph.layers) == weights
    assert len(network.float_weights) == floating
    work = build_workload(name, graph, uniform_config(8, 8))
    assert sum(op.macs for op in work.ops) == network.mac_count > 0
    calibration = drain_steps(Calibrate()(graph, [inputs]))
    assert not torch.equal(
        quantize_graph(graph, uniform_config(4, 8), calibration)(inputs), graph(inputs)
    )


def test_an_architecture_that_draws_is_refused() -> None:
    with pytest.raises(CaptureError, match="draws random numbers"):
        prepare_network("VAE", SEQUENCES["VAE"].build().eval(), SEQUENCES["VAE"].inputs, "digest")
