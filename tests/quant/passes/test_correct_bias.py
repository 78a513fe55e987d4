"""Bias correction: the means of the float network come back."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.config import QuantConfig, uniform_config
from quant.errors import CalibrationError
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.operators import Kind
from quant.passes.adaround import AdaRound
from quant.passes.calibrate import Calibrate
from quant.passes.correct_bias import CorrectBias, Corrected
from quant.passes.equalize import Equalize
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.passes.mean_behind import shift_behind_activation
from quant.passes.methods import Method
from quant.progress import drain_steps
from quant.ranges.batch_norm_moments import propagate_moments
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import FLOAT_BITS, Granularity, SpecChange
from tests.networks import CASES, Wired, conv_bn, graph_of, randomize_batch_norms
from tests.quant.passes.recorder import recorded

COARSE = uniform_config(3, 4, Granularity.PER_TENSOR)
ANALYTIC = CorrectBias(Method.ANALYTIC)
NETWORKS = (
    "plain", "kitchen", "pre-activation", "gated", "attention", "one-dimensional", "transposed",
    "grouped", "padded", "perceptron", "scaled", "fashion-mobilenet",
)  # fmt: skip


def simulated(graph: FloatGraph, inputs: Tensor, config: QuantConfig = COARSE) -> QuantGraph:
    return quantize_graph(graph, config, drain_steps(Calibrate()(graph, [inputs])))


def network(name: str, count: int = 12) -> tuple[FloatGraph, QuantGraph, Tensor]:
    graph, inputs = FoldBatchNorm()(graph_of(name)), CASES[name].inputs(count)
    return graph, simulated(graph, inputs), inputs


def channel_means(graph: FloatGraph | QuantGraph, inputs: Tensor) -> dict[str, Tensor]:
    """Return the mean of each channel of each weighted layer's output before its activation."""
    whole = graph.graph if isinstance(graph, QuantGraph) else graph
    given = recorded(graph.module, inputs).given
    means = {}
    for layer in whole.layers:
        if layer.weight:
            value: Tensor = given[layer.node].double()
            axis = value.dim() - 1 if layer.kind is Kind.LINEAR else 1
            means[layer.name] = value.mean([i for i in range(value.dim()) if i != axis])
    return means


@pytest.mark.parametrize("name", NETWORKS)
def test_empirically_every_layers_mean_output_becomes_the_float_networks(name: str) -> None:
    graph, quantized, inputs = network(name)
    wanted, before = channel_means(graph, inputs), channel_means(quantized, inputs)
    result = drain_steps(CorrectBias()(graph, quantized, inputs.split(5)))
    after = channel_means(quantized, inputs)
    assert [shift.layer for shift in result.shifts] == list(wanted)
    assert result.skipped == {}
    for shift in result.shifts:
        size = float(wanted[shift.layer].abs().max()) + 1
        left = (after[shift.layer] - wanted[shift.layer]).abs().max()
        assert float(left) <= 1e-5 * size, shift.layer
        assert shift.after is not None
        assert float(shift.after.abs().max()) <= 1e-5 * size, shift.layer
    first = result.shifts[0]
    assert torch.allclose(
        first.before.double(), before[first.layer] - wanted[first.layer], atol=1e-5
    )
    assert float(first.before.abs().max()) > 1e-3  # something to correct


def test_each_layer_is_fed_by_layers_that_are_already_corrected() -> None:
    graph, quantized, inputs = network("plain")
    result = drain_steps(CorrectBias()(graph, quantized, [inputs]))
    by_hand = simulated(graph, inputs)
    wanted = channel_means(graph, inputs)
    for shift in result.shifts:
        error = channel_means(by_hand, inputs)[shift.layer] - wanted[shift.layer]
        assert torch.allclose(shift.before.double(), error, atol=1e-5), shift.layer
        layer = graph[shift.layer]
        bias = by_hand.graph.bias_of_layer(layer)
        by_hand.graph.store_bias(layer, (bias.double() - error).float())
        by_hand.module.recompile()
        assert torch.allclose(
            quantized.graph.bias_of_layer(layer), by_hand.graph.bias_of_layer(layer), atol=1e-5
        )
    assert torch.allclose(quantized(inputs), by_hand(inputs), atol=1e-4)


def test_batches_of_different_sizes_weigh_by_their_images() -> None:
    graph, one, inputs = network("plain")
    other = simulated(graph, inputs)
    drain_steps(CorrectBias()(graph, one, [inputs]))
    drain_steps(CorrectBias()(graph, other, [inputs[:1], inputs[1:]]))
    for layer in graph.layers:
        if layer.weight:
            assert torch.allclose(
                one.graph.bias_of_layer(layer), other.graph.bias_of_layer(layer), atol=1e-5
            )


def normal_net(second: nn.Module, clip: nn.Module) -> FloatGraph:
    torch.manual_seed(4)
    model = nn.Sequential(*conv_bn(3, 6), clip, second)
    randomize_batch_norms(model)
    return FoldBatchNorm()(capture_graph(model.eval(), (3, 8, 8)))


SECONDS = {
    "plain": lambda: nn.Conv2d(6, 5, 3),
    "grouped": lambda: nn.Conv2d(6, 4, 3, groups=2, bias=False),
    "depthwise": lambda: nn.Conv2d(6, 12, 3, groups=6),
}
CLIPS = {"relu": nn.ReLU(), "relu6": nn.ReLU6(), "hardtanh": nn.Hardtanh(-0.2, 0.6)}


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("second", SECONDS)
def test_analytically_the_correction_equals_monte_carlo(second: str, clip: str) -> None:
    """Draw the second layer's inputs as the batch norm says, and run both weights on them."""
    graph = normal_net(SECONDS[second](), CLIPS[clip])
    quantized = quantize_graph(graph, uniform_config(3, FLOAT_BITS, Granularity.PER_TENSOR))
    normal = graph.normals[graph["0"].node]
    draws = 60_000
    drawn = torch.randn(draws, 6, 3, 3) * normal.std[:, None, None] + normal.mean[:, None, None]
    layer = graph["3"]
    rounded = quantized.quantizers["3 weight"](graph.stored_tensor("3.weight"))
    groups = 6 // layer.weight_shape[1]
    change = F.conv2d(CLIPS[clip](drawn), rounded - graph.stored_tensor("3.weight"), groups=groups)
    rows = change.flatten(1)
    old = quantized.graph.bias_of_layer(layer).clone()
    result = drain_steps(ANALYTIC(graph, quantized))
    (shift,) = result.shifts
    assert (shift.layer, shift.after) == ("3", None)
    error = 5 * rows.std(0) / draws**0.5 + 1e-6  # five standard errors
    assert ((shift.before - rows.mean(0)).abs() <= error).all()
    assert float((shift.before.abs() / error).max()) > 10  # far from nothing
    assert torch.allclose(quantized.graph.bias_of_layer(layer), old - shift.before, atol=1e-6)
    assert result.skipped == {"0": "no batch norm determines the mean of its input"}


def test_analytic_correction_behind_the_caps_of_equalization_is_that_of_relu6() -> None:
    """What the second layer sees is divided by s and its weight multiplied by it."""
    graph = normal_net(nn.Conv2d(6, 5, 3), nn.ReLU6())
    equal = Equalize()(graph).graph
    for each in (graph, equal):
        fine = quantize_graph(each, uniform_config(6, FLOAT_BITS))
        mean = propagate_moments(each)[each["3"].inputs[0]].mean
        weight = each.stored_tensor("3.weight")
        rounded = fine.quantizers["3 weight"](weight)
        wanted = ((rounded - weight).sum((2, 3)) @ mean).tolist()
        (shift,) = drain_steps(ANALYTIC(each, fine)).shifts
        assert shift.before.tolist() == pytest.approx(wanted, abs=1e-6)
    means = [propagate_moments(each)[each["3"].inputs[0]].mean for each in (graph, equal)]
    scales = graph.stored_tensor("0.bias") / equal.stored_tensor("0.bias")
    assert torch.allclose(means[1], means[0] / scales, rtol=1e-4)


def refuse() -> Tensor:
    raise AssertionError("the analytic method must not look at data")


def test_the_analytic_method_touches_no_data() -> None:
    graph, quantized, _ = network("fashion-mobilenet", 2)
    result = drain_steps(ANALYTIC(graph, quantized, iter(refuse, None)))
    corrected = {shift.layer for shift in result.shifts}
    weighted = {layer.name for layer in graph.layers if layer.weight}
    assert corrected | set(result.skipped) == weighted
    assert not corrected & set(result.skipped)
    assert len(corrected) > 20


def test_layers_that_cannot_be_corrected_are_named_with_the_reason() -> None:
    graph, quantized, inputs = network("transposed")
    result = drain_steps(ANALYTIC(graph, quantized))
    assert result.skipped["0"] == "it is a transposed convolution"
    graph, quantized, inputs = network("shared")
    for method in Method:
        result = drain_steps(CorrectBias(method)(graph, quantized, [inputs]))
        assert result.shifts == ()
        assert set(result.skipped.values()) == {"another operation shares its bias"}
    graph, quantized, _ = network("attention")
    result = drain_steps(ANALYTIC(graph, quantized))
    assert set(result.skipped.values()) == {"no batch norm determines the mean of its input"}


def test_a_float_weight_among_quantized_ones_is_left_alone_analytically() -> None:
    graph, _, inputs = network("fashion-mobilenet", 2)
    name = "blocks.1.project.0"
    config = COARSE.with_layer_change(name, SpecChange(bits=FLOAT_BITS))
    quantized = simulated(graph, inputs, config)
    result = drain_steps(ANALYTIC(graph, quantized))
    assert result.skipped[name] == "its weight is float"
    assert torch.equal(quantized.graph.bias_of_layer(graph[name]), graph.bias_of_layer(graph[name]))


def test_layers_without_a_bias_get_one() -> None:
    def wire(m: Wired, x: Tensor) -> Tensor:
        return m.linear(m.conv(x).relu().mean((2, 3)))

    conv, linear = nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4, 2, bias=False)
    graph = capture_graph(Wired(wire, conv=conv, linear=linear), (3, 6, 6))
    inputs = torch.randn(8, 3, 6, 6) + 1
    quantized = simulated(graph, inputs)
    drain_steps(CorrectBias()(graph, quantized, [inputs]))
    assert [layer.bias for layer in graph.layers if layer.weight] == [None, None]
    for name, channels in (("conv", 4), ("linear", 2)):
        bias = quantized.graph.bias_of_layer(graph[name])
        assert bias.shape == (channels,)
        assert float(bias.abs().max()) > 0
    means = channel_means(quantized, inputs)
    assert torch.allclose(means["linear"], graph(inputs).double().mean(0), atol=1e-6)


@pytest.mark.parametrize("method", Method)
def test_a_float_network_keeps_its_biases_to_the_bit(method: Method) -> None:
    graph = FoldBatchNorm()(graph_of("plain"))
    inputs = CASES["plain"].inputs(6)
    quantized = quantize_graph(graph, uniform_config(FLOAT_BITS, FLOAT_BITS))
    wanted = graph(inputs)
    result: Corrected = drain_steps(CorrectBias(method)(graph, quantized, [inputs]))
    for layer in graph.layers:
        if layer.weight:
            assert torch.equal(quantized.graph.bias_of_layer(layer), graph.bias_of_layer(layer))
    assert torch.equal(quantized(inputs), wanted)
    if method is Method.ANALYTIC:
        assert set(result.skipped.values()) == {"its weight is float"}


@pytest.mark.parametrize("method", Method)
def test_cancelled_midway_the_compiled_code_knows_what_was_done(method: Method) -> None:
    """Layers without biases, so that every correction changes the graph itself."""
    torch.manual_seed(0)
    model = nn.Sequential(*conv_bn(3, 4), nn.ReLU(), nn.Conv2d(4, 5, 3, bias=False), nn.ReLU(),
                          nn.Conv2d(5, 2, 3, bias=False))  # fmt: skip
    randomize_batch_norms(model)
    graph = FoldBatchNorm()(capture_graph(model.eval(), (3, 8, 8)))
    inputs = torch.randn(6, 3, 8, 8)
    quantized = simulated(graph, inputs)
    before = quantized(inputs)
    steps = CorrectBias(method)(graph, quantized, [inputs])
    texts = [next(steps).text for _ in range(3)]
    assert texts[2].endswith(" 5")  # the last layer is not done yet
    steps.close()
    after = quantized(inputs)
    assert float((after - before).abs().max()) > 1e-4
    assert torch.equal(recorded(quantized.module, inputs).given["output"], after)


def test_without_images_the_empirical_method_says_what_to_do() -> None:
    graph, quantized, _ = network("plain")
    with pytest.raises(CalibrationError, match="choose the analytic method"):
        drain_steps(CorrectBias()(graph, quantized, []))


def test_behind_a_relu_the_shift_gives_the_float_mean_back() -> None:
    graph = FoldBatchNorm()(graph_of("plain"))
    layer = graph["0"]
    generator = torch.Generator().manual_seed(2)
    given = [torch.randn(4, 8, 6, 6, generator=generator) * 3 for _ in range(3)]
    received = [value * 0.9 + 0.4 for value in given]
    received[0][:, 0] = -9.0  # a dead channel next to a living one
    received[1][:, 0] = -9.0
    received[2][:, 0] = -9.0
    shift = shift_behind_activation(graph, layer, given, received)
    wanted = F.relu6(torch.cat(given)).mean((0, 2, 3))
    moved = F.relu6(torch.cat(received) + shift.reshape(-1, 1, 1)).mean((0, 2, 3))
    assert torch.allclose(moved, wanted, atol=1e-4)
    same = shift_behind_activation(graph, layer, given, given)
    assert torch.equal(same, torch.zeros(8))


def test_a_correction_after_adaround_does_not_undo_it() -> None:
    graph, inputs = FoldBatchNorm()(graph_of("plain")), CASES["plain"].inputs(64)
    rounded = simulated(graph, inputs)
    drain_steps(AdaRound(iterations=300)(graph, rounded, [inputs]))
    wanted = graph(inputs)
    before = float((rounded(inputs) - wanted).square().mean())
    drain_steps(CorrectBias()(graph, rounded, [inputs]))
    after = float((rounded(inputs) - wanted).square().mean())
    assert after <= 1.1 * before
