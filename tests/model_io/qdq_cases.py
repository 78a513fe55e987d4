"""Quantized small networks, and their files with Q/DQ pairs, for the tests of the export."""

from dataclasses import replace
from functools import cache

import torch

from model_io.onnx_export.float_onnx import MarkedOnnx
from model_io.qdq_export.export_qdq import QdqOnnx, export_qdq_onnx
from model_io.qdq_export.weights import WeightStyle
from quant.config import LayerConfig, QuantConfig, uniform_config
from quant.graph.float_graph import FloatGraph
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import Granularity
from tests.networks import CASES, graph_of
from tests.shared_answers import marked_once

GROUP = 3


def config(
    weights: int, activations: int, granularity: Granularity = Granularity.PER_CHANNEL
) -> QuantConfig:
    found = uniform_config(weights, activations, granularity)
    weight = replace(found.default.weight, group_size=GROUP)
    return QuantConfig(LayerConfig(weight, found.default.activation))


def calibrated(graph: FloatGraph, wish: QuantConfig, seed: int = 5) -> QuantGraph:
    """Return a network simulated with ranges from random inputs."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.randn(16, *graph.input_shape, generator=generator)
    return quantize_graph(graph, wish, drain_steps(Calibrate(16)(graph, [batch])))


@cache
def simulated(
    name: str, weights: int, activations: int, granularity: Granularity = Granularity.PER_CHANNEL
) -> QuantGraph:
    """Return a network of that name, folded; one for all tests, so none may change it."""
    graph = FoldBatchNorm()(graph_of(name))
    return calibrated(graph, config(weights, activations, granularity))


@cache
def exported(
    name: str,
    weights: int,
    activations: int,
    granularity: Granularity = Granularity.PER_CHANNEL,
    style: WeightStyle = WeightStyle.INTEGER,
) -> QdqOnnx:
    """Return the file of `simulated` of that name."""
    return export_qdq_onnx(simulated(name, weights, activations, granularity), style, marked(name))


@cache
def marked(name: str) -> MarkedOnnx:
    """Return the float file of a folded network; its weights are the same on any grid."""
    return marked_once(simulated(name, 8, 8))


def inputs_of(name: str, count: int = 16) -> torch.Tensor:
    return CASES[name].inputs(count)
