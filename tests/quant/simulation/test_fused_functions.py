"""Functions that hardware applies before it stores: each with its limits, quantized or not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.config import QuantConfig, Rule, uniform_config
from quant.graph.capture import capture_graph
from quant.passes.calibrate import Calibrate
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from quant.spec import SpecChange
from tests.networks import Wired

CLIPS: dict[str, Callable[[Tensor], Tensor]] = {
    "hardtanh": F.hardtanh,
    "hardtanh with limits": lambda x: F.hardtanh(x, -0.2, 0.3),
    "relu6": F.relu6,
    "both": lambda x: x.clamp(-0.3, 0.2),
    "from below": lambda x: x.clamp(min=-0.1),
    "from above": lambda x: x.clamp(max=0.1),
    "clamp_min": lambda x: x.clamp_min(0.1),
    "whole limits": lambda x: x.clamp(0, 1),
    "in place": F.relu_,
    "leaky": lambda x: F.leaky_relu(x, 0.2),
}


@pytest.mark.parametrize("name", CLIPS)
def test_a_fused_function_is_applied_with_its_own_limits(name: str) -> None:
    function = CLIPS[name]
    model = Wired(lambda m, x: function(m.linear(x)), linear=nn.Linear(4, 6))
    graph, inputs = capture_graph(model, (4,)), torch.randn(200, 4)
    assert [layer.name for layer in graph.layers] == ["input", "linear"]
    wanted = model(inputs)
    assert torch.equal(quantize_graph(graph, uniform_config(32, 32))(inputs), wanted)
    config = QuantConfig(
        rules=(Rule("*", SpecChange(bits=32)), Rule("input", activation=SpecChange(bits=32)))
    )
    simulated = quantize_graph(graph, config, drain_steps(Calibrate()(graph, [inputs])))
    encoding = simulated.quantizers["linear"].encoding
    assert encoding is not None
    assert torch.equal(simulated(inputs), encoding.fake_quantize(wanted))
