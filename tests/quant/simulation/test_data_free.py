"""Ranges from batch norms: white paper section 3.1, no image seen."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.config import QuantConfig, Rule, uniform_config
from quant.encoding import Encoding, encode_range
from quant.errors import CalibrationError
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import Estimator, QuantSpec, SpecChange
from tests.networks import CASES, Case, Wired, conv_bn, graph_of

BATCH_NORM = QuantConfig(rules=(Rule("*", activation=SpecChange(estimator=Estimator.BATCH_NORM)),))


def encoding_of(result: QuantGraph, name: str) -> Encoding:
    encoding = result.quantizers[name].encoding
    assert encoding is not None
    return encoding


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "none": (lambda x: x, -torch.inf, torch.inf),
    "relu": (F.relu, 0.0, torch.inf),
    "relu6": (F.relu6, 0.0, 6.0),
    "hardtanh": (lambda x: F.hardtanh(x, -2.0, 0.5), -2.0, 0.5),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_range_is_beta_minus_and_plus_six_gamma_cut_by_the_function(name: str) -> None:
    function, low, high = ACTIVATIONS[name]
    case = Case(lambda: Wired(lambda m, x: function(m.conv(x)), conv=conv_bn(2, 6)), (2, 4, 4))
    model = case.model()
    graph = FoldBatchNorm()(capture_graph(model, case.shape))
    result = quantize_graph(graph, BATCH_NORM, input_range=(-1.0, 1.0))
    beta, gamma = model.get_parameter("conv.1.bias"), model.get_parameter("conv.1.weight").abs()
    q_min = (beta - 6 * gamma).detach().min().clamp(low, high)
    q_max = (beta + 6 * gamma).detach().max().clamp(low, high)
    wanted = encode_range(q_min, q_max, QuantSpec(8, symmetric=False))
    got = encoding_of(result, "conv.0")
    assert float(got.scale) == pytest.approx(float(wanted.scale), rel=1e-6)
    assert torch.equal(got.zero_point, wanted.zero_point)


def data_free(name: str) -> tuple[FloatGraph, QuantGraph]:
    graph = FoldBatchNorm()(graph_of(name))
    return graph, quantize_graph(graph, BATCH_NORM, input_range=(-4.0, 4.0))


@pytest.mark.parametrize(
    "name", ["plain", "fashion-mobilenet", "fashion-mobilenet-imbalanced", "fashion-resnet"]
)
def test_a_network_of_batch_norms_is_quantized_without_any_data(name: str) -> None:
    _, result = data_free(name)
    assert all(result.quantizers[site.name].encoding is not None for site in result.sites)
    assert torch.isfinite(result(CASES[name].inputs(2))).all()


def normalized(case: Case, inputs: Tensor) -> nn.Module:
    """Return the network with batch norms that know the inputs, as training leaves them."""
    model = case.model()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    model.train()
    with torch.no_grad():
        model(inputs)
    return model.eval()


def test_where_batch_norms_know_the_data_nearly_nothing_is_clipped() -> None:
    case = CASES["plain"]
    inputs = case.inputs(128)
    graph = FoldBatchNorm()(capture_graph(normalized(case, inputs), case.shape))
    result = quantize_graph(graph, BATCH_NORM, input_range=(-4.0, 4.0))
    statistics = drain_steps(Calibrate()(graph, [inputs]))
    for name in ("0", "3"):
        encoding, seen = encoding_of(result, name), statistics[name]
        assert seen.quantile(0.9999) <= float(encoding.high) * 1.01
    wanted, got = graph(inputs), result(inputs)
    assert float((got - wanted).abs().mean()) < 0.05 * float(wanted.abs().mean())


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), "0"),
        (lambda: nn.Sequential(*conv_bn(2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2)), "4"),
        (lambda: nn.Sequential(*conv_bn(2, 3), nn.SiLU()), "2"),
        (lambda: nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()), "0"),
    ],
)
def test_a_layer_that_follows_from_no_batch_norm_is_named(
    build: Callable[[], nn.Module], layer: str
) -> None:
    case = Case(build, (2, 6, 6))
    graph = FoldBatchNorm()(capture_graph(case.model(), case.shape))
    with pytest.raises(CalibrationError, match=rf"layer '{layer}' does not\. Choose mse"):
        quantize_graph(graph, BATCH_NORM, input_range=(-4.0, 4.0))


def test_the_input_needs_a_range_or_an_image() -> None:
    graph = FoldBatchNorm()(graph_of("plain"))
    with pytest.raises(CalibrationError, match="'input' has no statistics"):
        quantize_graph(graph, BATCH_NORM)
    calibration = drain_steps(Calibrate()(graph, [CASES["plain"].inputs(4)]))
    result = quantize_graph(graph, BATCH_NORM, {"input": calibration["input"]})
    found = calibration["input"]
    wanted = encode_range(
        torch.tensor(found.low), torch.tensor(found.high), QuantSpec(8, symmetric=False)
    )
    assert torch.equal(encoding_of(result, "input").scale, wanted.scale)


def test_layers_without_batch_norms_may_have_statistics_while_others_do_without() -> None:
    graph = FoldBatchNorm()(graph_of("kitchen"))
    calibration = drain_steps(Calibrate()(graph, [CASES["kitchen"].inputs(4)]))
    mine = {name: calibration[name] for name in ("input", "cat", "left", "right.0", "linear")}
    free = SpecChange(estimator=Estimator.BATCH_NORM)
    rules = tuple(Rule(name, activation=free) for name in ("conv1", "conv2", "add"))
    result = quantize_graph(graph, replace(uniform_config(8, 8), rules=rules), mine)
    sites = [site for site in result.sites if site.side is Side.ACTIVATIONS]
    assert all(result.quantizers[site.name].encoding is not None for site in sites)
