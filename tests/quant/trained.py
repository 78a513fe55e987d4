"""Trained samples and their images, calibrated once for all tests that need them."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from data_io.bundled import fashion_test_set, fashion_train_part
from quant.graph.float_graph import FloatGraph
from quant.inputs import first_output_of
from quant.passes.calibrate import Calibrate, Calibration
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph
from tests.sample_networks import sample_network

BATCH = 50


@dataclass(frozen=True, eq=False)
class Trained:
    """A folded network and the statistics of 256 training images, 50 a batch."""

    graph: FloatGraph
    calibration: Calibration


@cache
def trained(name: str) -> Trained:
    """Return the sample of that name; one for all tests, so none may change it."""
    graph = sample_network(name).graph
    data = fashion_train_part().sample(256)
    batches = (batch.inputs for batch in data.batches(BATCH))
    return Trained(graph, drain_steps(Calibrate(len(data))(graph, batches)))


@cache
def images(count: int) -> tuple[Tensor, Tensor]:
    """Return the first `count` test images and their labels."""
    batch = next(fashion_test_set().batches(count))
    assert batch.labels is not None
    return first_output_of(batch.inputs), batch.labels


@torch.inference_mode()
def logits(graph: FloatGraph | QuantGraph, inputs: Tensor) -> Tensor:
    """Return the network's output for all inputs, in small batches."""
    return torch.cat([graph(part) for part in inputs.split(BATCH)])
