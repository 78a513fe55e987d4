"""The projection inside an LSTM has the encoding of the linear layer with the same weight."""

import copy
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from model_io.errors import ModelError
from model_io.onnx_import.load_onnx import load_onnx_network
from model_io.qdq_export.export_qdq import export_qdq_onnx
from quant.config import uniform_config
from quant.engine.gradients import Backward, Local
from quant.engine.program import compile_program
from quant.graph.borrowed_weights import find_borrowed_weights
from quant.graph.capture import capture_graph
from quant.graph.layer_pairs import find_layer_pairs
from quant.inputs import Input
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.simulation.plan import Side, plan_sites, weight_site_name
from quant.simulation.quant_graph import quantize_graph
from tests.model_io.onnx_files import model as written
from tests.model_io.onnx_files import node, saved

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")
PROJECTION = "body.hr_l0"


class Projected(nn.Module):
    """A projected LSTM, and a classifier of the last projected state and the last cell."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.LSTM(8, 6, batch_first=True, proj_size=4)
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return 3 scores of x (N, 5, 8)."""
        y, (_, cell) = self.body(x)
        found: Tensor = self.head(torch.cat([y[:, -1], cell[-1]], 1))
        return found


@pytest.fixture(scope="module")
def model() -> Projected:
    torch.manual_seed(0)
    return Projected().eval()


def with_coarse_projection(model: Projected) -> tuple[Projected, Tensor]:
    """Return a copy with the projection on 3 bits, and images (4, 5, 8)."""
    graph = capture_graph(model, (Input("x", (5, 8)),))
    quantized = quantize_graph(graph, uniform_config(3, 32))
    encoding = quantized.quantizers[weight_site_name(PROJECTION)].encoding
    assert encoding is not None
    coarse = copy.deepcopy(model)
    with torch.no_grad():
        held = coarse.body.get_parameter("weight_hr_l0")
        held.copy_(encoding.fake_quantize(held))
    return coarse, torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(1))


def test_simulation_and_program_compute_as_torch_with_the_rounded_projection(
    model: Projected,
) -> None:
    coarse, x = with_coarse_projection(model)
    wanted = coarse(x).detach()
    graph = capture_graph(model, (Input("x", (5, 8)),))
    config = uniform_config(3, 32)
    quantized = quantize_graph(graph, config, drain_steps(Calibrate()(graph, [x])))
    with quantized.only_layer(PROJECTION, Side.WEIGHTS):
        torch.testing.assert_close(quantized(x), wanted)
    site = weight_site_name(PROJECTION)
    encoding = quantized.quantizers[site].encoding
    assert encoding is not None
    program = compile_program(graph, plan_sites(graph, config))
    settings = program.settle_weights({site: encoding})
    torch.testing.assert_close(program(x, settings), wanted)
    start = program.restart_position([site])
    values = program.start_values(x)
    program.run_steps(values, 0, start, {})
    torch.testing.assert_close(program.finish_run(values, start, settings), wanted)


def test_screening_runs_the_recurrence_anew_for_another_projection(model: Projected) -> None:
    coarse, x = with_coarse_projection(model)
    graph = capture_graph(model, (Input("x", (5, 8)),))
    found: dict[str, Local] = {}
    Backward(graph)(x, lambda out: [out], lambda local: found.update({local.layer.name: local}))
    local = found[PROJECTION]
    assert local.run is not None
    again = local.run(coarse.body.get_parameter("weight_hr_l0").detach())
    torch.testing.assert_close(again, coarse.body(x)[0].detach())


def test_a_borrowed_weight_begins_no_pair_and_is_found(model: Projected) -> None:
    graph = capture_graph(model, (Input("x", (5, 8)),))
    lent = graph[PROJECTION].node
    assert [one.lender for one in find_borrowed_weights(graph.module)] == [lent]
    assert PROJECTION in {one.layer for one in find_layer_pairs(graph)[1]}


def test_the_file_computes_as_the_simulation(model: Projected) -> None:
    _, x = with_coarse_projection(model)
    graph = capture_graph(model, (Input("x", (5, 8)),))
    statistics = drain_steps(Calibrate()(graph, [x]))
    quantized = quantize_graph(graph, uniform_config(3, 32), statistics)
    file = export_qdq_onnx(quantized).model.SerializeToString()
    options = ort.SessionOptions()  # node by node: fused kernels of 4 bits round activations
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    got = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    np.testing.assert_allclose(got, quantized(x).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_an_onnx_file_with_a_projection_is_refused_with_advice(tmp_path: Path) -> None:
    sizes = {"W": (1, 16, 8), "R": (1, 16, 4), "h": (1, 2, 4), "c": (1, 2, 6)}
    constants = {name: np.zeros(shape, np.float32) for name, shape in sizes.items()}
    layer = node("LSTM", ["x", "W", "R", "", "", "h", "c"], "y", hidden_size=4)
    path = saved(tmp_path / "projected.onnx", written([layer], (5, 2, 8), constants))
    with pytest.raises(ModelError, match=r"no projection.*\.pt2"):
        load_onnx_network(path)
