"""What the repairs are worth on the trained samples: rows of the acceptance table."""

from functools import cache

import pytest
import torch
from torch import Tensor

from data_io.bundled import fashion_train_part
from quant.config import uniform_config
from quant.graph.float_graph import FloatGraph
from quant.inputs import first_output_of
from quant.passes.adaround import AdaRound
from quant.passes.calibrate import Calibrate
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import Granularity
from tests.quant.trained import images, logits
from tests.sample_networks import sample_network

POINT = 0.01
TEST_IMAGES = 800
PER_TENSOR = uniform_config(8, 8, Granularity.PER_TENSOR)


def accuracy(graph: FloatGraph | QuantGraph) -> float:
    """Return top-1 on the first test images."""
    inputs, labels = images(TEST_IMAGES)
    return float((logits(graph, inputs).argmax(1) == labels).double().mean())


@cache
def unlabelled(count: int) -> list[Tensor]:
    return [
        first_output_of(batch.inputs) for batch in fashion_train_part().sample(count).batches(32)
    ]


def float_graph(name: str) -> FloatGraph:
    return sample_network(name).graph


@pytest.fixture(scope="module")
def imbalanced() -> tuple[FloatGraph, float]:
    graph = float_graph("fashion-mobilenet-imbalanced")
    return graph, accuracy(graph)


def at_w8a8_per_tensor(graph: FloatGraph) -> QuantGraph:
    return quantize_graph(graph, PER_TENSOR, drain_steps(Calibrate()(graph, unlabelled(64))))


def test_unequal_channels_collapse_per_tensor_and_bias_correction_alone_does_not_help_enough(
    imbalanced: tuple[FloatGraph, float],
) -> None:
    graph, wanted = imbalanced
    assert wanted > 0.9
    broken = at_w8a8_per_tensor(graph)
    assert accuracy(broken) < 0.5
    result = drain_steps(CorrectBias()(graph, broken, unlabelled(64)))
    assert all(float(shift.before.abs().max()) > 0 for shift in result.shifts)
    assert accuracy(broken) < 0.5


def test_equalization_brings_them_back_within_a_point_of_float(
    imbalanced: tuple[FloatGraph, float],
) -> None:
    graph, wanted = imbalanced
    equal = Equalize()(graph).graph
    assert accuracy(equal) == pytest.approx(wanted, abs=0.001)
    repaired = at_w8a8_per_tensor(equal)
    assert accuracy(repaired) >= wanted - POINT
    drain_steps(CorrectBias()(equal, repaired, unlabelled(64)))
    assert accuracy(repaired) >= wanted - POINT


def test_adaround_at_w4a8_per_channel_is_within_a_point_of_float() -> None:
    graph = float_graph("fashion-resnet")
    wanted = accuracy(graph)
    quantized = quantize_graph(
        graph, uniform_config(4, 8), drain_steps(Calibrate()(graph, unlabelled(64)))
    )
    inputs, _ = images(500)
    target = logits(graph, inputs)
    before = float((logits(quantized, inputs) - target).square().mean())
    passing = AdaRound(iterations=150, rows=2048, batch=512)
    result = drain_steps(passing(graph, quantized, unlabelled(200)))
    assert result.skipped == {}
    assert all(layer.learned <= layer.nearest for layer in result.layers)
    ratios = torch.tensor([layer.learned / layer.nearest for layer in result.layers])
    assert float(ratios.mean()) < 0.85
    assert accuracy(quantized) >= wanted - POINT
    # and on images it has not seen, the logits themselves come nearer
    assert float((logits(quantized, inputs) - target).square().mean()) < 0.8 * before
