"""A simulated network as a program, against the graph of which it was made."""

import pytest
import torch

from quant.config import uniform_config
from quant.engine.program import Program
from quant.engine.simulation import CompiledNetwork, compile_simulation
from quant.errors import CaptureError
from quant.inputs import tensors_of_batch
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from tests.networks import CASES, SMALL, graph_of


def simulated(name: str, bits: int = 4) -> QuantGraph:
    graph = FoldBatchNorm()(graph_of(name))
    statistics = drain_steps(Calibrate()(graph, [CASES[name].inputs(2)]))
    return quantize_graph(graph, uniform_config(bits, bits), statistics)


def unfused(made: CompiledNetwork) -> CompiledNetwork:
    return CompiledNetwork(Program(made.program.portable, fuse=False), made.encodings)


@pytest.mark.parametrize("name", SMALL)
def test_without_fusing_it_is_the_graph_to_the_last_bit(name: str) -> None:
    graph, x = simulated(name), CASES[name].inputs(2)
    with torch.no_grad():
        for made in (compile_simulation(graph), unfused(compile_simulation(graph))):
            # codes of 4 bits lie far apart: no value of these lies between two of them by chance
            for found, wanted in zip(
                tensors_of_batch(made.run(x)), tensors_of_batch(graph.run(x)), strict=True
            ):
                scale = float(wanted.abs().max())
                torch.testing.assert_close(found, wanted, atol=1e-5 * scale, rtol=0)
        exact = unfused(compile_simulation(graph)).run(x)
        assert torch.equal(tensors_of_batch(exact)[0], graph(x))


def test_it_has_the_states_of_the_moment() -> None:
    graph, x = simulated("kitchen"), CASES["kitchen"].inputs(2)
    layer = next(layer.name for layer in graph.graph.layers if layer.weight is not None)
    with torch.no_grad():
        with graph.only_layer(layer):
            wanted, alone = graph(x), unfused(compile_simulation(graph))
        with graph.as_float_network():
            float_output, no_encoding = graph(x), compile_simulation(graph)
        assert not no_encoding.encodings
        assert not torch.equal(wanted, float_output)
        assert torch.equal(tensors_of_batch(alone.run(x))[0], wanted)


def test_a_graph_that_is_being_calibrated_is_no_program() -> None:
    graph = simulated("plain")
    with graph.collecting_statistics(), pytest.raises(CaptureError, match="calibrate"):
        compile_simulation(graph)
