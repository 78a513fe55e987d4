"""Numbers that are none: the layer is named, before any work where that can be."""

from typing import Any

import pytest
import torch
from torch import nn

from analysis.network import prepare_network
from quant.errors import CalibrationError, QuantError
from quant.finite_values import check_finite_outputs
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.inputs import Input
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.torch_state import exclusive_torch
from tests.networks_kinds import Written


class TwoLayers(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 3)
        with torch.no_grad():
            self.second.weight *= factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(self.first(x).relu())
        return y


@pytest.fixture(scope="module")
def loud() -> FloatGraph:
    with exclusive_torch():
        return capture_graph(TwoLayers(1e30).eval(), (4,))


def test_a_weight_that_is_no_number_names_its_layer_when_the_network_is_loaded() -> None:
    with pytest.raises(QuantError, match=r"12 of 12 in second are NaN or infinite"):
        prepare_network("nan", TwoLayers(float("nan")).eval(), (4,), "digest")


def test_outputs_beyond_float32_name_the_layer_and_what_is_large(loud: FloatGraph) -> None:
    x = torch.full((2, 4), 1e30)
    with pytest.raises(QuantError, match=r"first after second, whose largest weight is \d\.\d+e"):
        check_finite_outputs(loud, x, (loud(x),))
    check_finite_outputs(loud, torch.ones(2, 4), (loud(torch.ones(2, 4)),))


def test_an_input_of_truth_values_is_named_like_any_other() -> None:
    net = Written(lambda m, x: m.head(x.float()) / 0.0, head=nn.Linear(4, 2)).eval()
    graph = capture_graph(net, (Input("x", (4,), "bool"),))
    x = torch.ones(2, 4, dtype=torch.bool)
    with pytest.raises(QuantError, match=r"first after .*The largest input is 1\."):
        check_finite_outputs(graph, x, (graph(x),))


def test_calibration_names_the_layer_too(loud: FloatGraph) -> None:
    with pytest.raises(CalibrationError, match="first after second"):
        drain_steps(Calibrate()(loud, [torch.full((2, 4), 1e30)]))


def test_a_mask_that_hides_a_whole_row_is_named() -> None:
    def attend(m: Any, x: torch.Tensor) -> Any:
        hidden = torch.where(x > 9, -torch.inf, 0.0)
        return m.head((x + hidden).softmax(-1))

    graph = capture_graph(Written(attend, head=nn.Linear(4, 2)).eval(), (4,))
    rows = torch.tensor([[10.0, 1.0, 2.0, 3.0], [10.0, 10.0, 10.0, 10.0]])
    assert drain_steps(Calibrate()(graph, [rows[:1]]))
    with pytest.raises(CalibrationError, match="a mask hides every place of a row"):
        drain_steps(Calibrate()(graph, [rows]))
