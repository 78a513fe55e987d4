"""The simulated network: against a network simulated by hand, and what must not change."""

from collections import defaultdict

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from quant.config import QuantConfig, Rule, uniform_config
from quant.encoding import encode_range
from quant.errors import CalibrationError
from quant.graph.float_graph import FloatGraph
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.ranges.estimators import encode_statistics, encode_weight
from quant.ranges.statistics import Statistics
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import Estimator, Granularity, QuantSpec, SpecChange
from tests.networks import CASES, DISTINCT, SMALL, graph_of


def folded(name: str) -> FloatGraph:
    return FoldBatchNorm()(graph_of(name))


def calibrated(graph: FloatGraph, inputs: Tensor) -> dict[str, Statistics]:
    return drain_steps(Calibrate()(graph, inputs.split(4)))


@pytest.mark.parametrize("name", DISTINCT)
def test_everything_at_32_bits_is_the_float_network_exactly(name: str) -> None:
    inputs = CASES[name].inputs(3)
    for graph in (graph_of(name), folded(name)):
        for calibration in (None, dict[str, Statistics]()):
            simulated = quantize_graph(graph, uniform_config(32, 32), calibration)
            assert torch.equal(simulated(inputs), graph(inputs))


def test_the_simulated_network_equals_one_written_by_hand() -> None:
    graph, inputs = folded("kitchen"), CASES["kitchen"].inputs(16)
    calibration = calibrated(graph, inputs)
    config = uniform_config(5, 6)
    simulated = quantize_graph(graph, config, calibration)

    def weight(layer: str) -> Tensor:
        values = graph.stored_tensor(f"{layer}.weight")
        return encode_weight(values, config.default.weight).fake_quantize(values)

    def rounded(site: str, x: Tensor) -> Tensor:
        return encode_statistics(calibration[site], config.default.activation).fake_quantize(x)

    def conv(layer: str, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, weight(layer), graph.stored_tensor(f"{layer}.bias"), padding=padding)

    x = rounded("input", inputs)
    x = rounded("conv1", conv("conv1", x, 1).relu())
    x = rounded("add", (rounded("conv2", conv("conv2", x, 1)) + x).relu())
    x = F.max_pool2d(x, 2)
    left, right = rounded("left", conv("left", x)), rounded("right.0", conv("right.0", x).relu())
    x = rounded("cat", torch.cat([left, right], 1))
    x = rounded("cat", F.avg_pool2d(x, 4)).flatten(1)
    x = rounded("linear", F.linear(x, weight("linear"), graph.stored_tensor("linear.bias")))
    assert torch.equal(simulated(inputs), x)
    assert not torch.allclose(x, graph(inputs), rtol=1e-3)


@pytest.mark.parametrize("name", SMALL)
def test_sixteen_bits_are_near_the_float_network_and_two_are_not(name: str) -> None:
    graph, inputs = folded(name), CASES[name].inputs(16)
    calibration = calibrated(graph, inputs)
    wanted = graph(inputs)
    size = float(wanted.abs().max())

    def error(bits: int) -> float:
        return float(
            (quantize_graph(graph, uniform_config(bits, bits), calibration)(inputs) - wanted)
            .abs()
            .max()
        )

    assert 0 < error(16) < 2e-3 * size
    assert error(16) < error(8) < error(2)


def test_all_widths_come_from_one_calibration_that_stays_as_it_was() -> None:
    graph, inputs = folded("kitchen"), CASES["kitchen"].inputs(16)
    calibration = calibrated(graph, inputs)
    before = {name: (s.count, s.zeros, s.counts.clone()) for name, s in calibration.items()}
    outputs: dict[Estimator, list[Tensor]] = defaultdict(list)
    for bits in (2, 3, 5, 8, 13, 16, 32):
        for estimator in (Estimator.MSE, Estimator.MIN_MAX, Estimator.PERCENTILE):
            rule = Rule("*", activation=SpecChange(bits=bits, estimator=estimator))
            config = QuantConfig(rules=(rule,))
            outputs[estimator].append(quantize_graph(graph, config, calibration)(inputs))
            again = quantize_graph(graph, config, calibrated(graph, inputs))(inputs)
            assert torch.equal(outputs[estimator][-1], again)
    for name, (count, zeros, counts) in before.items():
        now = calibration[name]
        assert (now.count, now.zeros) == (count, zeros)
        assert torch.equal(now.counts, counts)
    for found in outputs.values():  # every width gives another output
        assert len({tuple(output.flatten().tolist()) for output in found}) == 7


def test_every_layer_has_its_own_bits() -> None:
    graph = folded("kitchen")
    calibration = calibrated(graph, CASES["kitchen"].inputs(8))
    names = [layer.name for layer in graph.layers]
    rules = tuple(
        Rule(name, SpecChange(bits=2 + at), SpecChange(bits=16 - at))
        for at, name in enumerate(names)
    )
    result = quantize_graph(graph, QuantConfig(rules=rules), calibration)
    for site in result.sites:
        at = names.index("cat" if site.name == "average_pool" else site.layer)
        encoding = result.quantizers[site.name].encoding
        assert encoding is not None
        bits = 2 + at if site.side is Side.WEIGHTS else 16 - at
        assert encoding.qmax - encoding.qmin == 2**bits - 1


def test_the_grid_of_one_layer_does_not_depend_on_the_bits_of_others() -> None:
    graph = folded("kitchen")
    calibration = calibrated(graph, CASES["kitchen"].inputs(8))
    rule = Rule("conv1", SpecChange(bits=3), SpecChange(bits=3))
    one, other = (quantize_graph(graph, QuantConfig(rules=r), calibration) for r in ((), (rule,)))
    for name, quantizer in one.quantizers.items():
        a, b = quantizer.encoding, other.quantizers[name].encoding
        assert a is not None
        assert b is not None
        assert torch.equal(a.scale, b.scale) != name.startswith("conv1")


def test_an_average_pool_takes_over_the_grid_of_its_input() -> None:
    graph = folded("plain")
    result = quantize_graph(graph, QuantConfig(), calibrated(graph, CASES["plain"].inputs(8)))
    assert result.quantizers["6"].encoding is result.quantizers["3"].encoding is not None


@pytest.mark.parametrize(
    ("name", "layer", "granularity", "size", "shape"),
    [
        ("transposed", "0", Granularity.PER_CHANNEL, 32, (1, 6, 1, 1)),
        ("transposed", "3", Granularity.PER_CHANNEL, 32, (2, 1, 1, 1)),
        ("transposed-grouped", "0", Granularity.PER_CHANNEL, 32, (1, 3, 1, 1)),
        ("transposed", "0", Granularity.PER_GROUP, 3, (4, 6, 1, 1)),
        ("plain", "0", Granularity.PER_GROUP, 2, (8, 3, 1, 1)),
        ("plain", "3", Granularity.PER_GROUP, 2, (8, 1, 1, 1)),
        ("perceptron", "0", Granularity.PER_GROUP, 4, (9, 7)),
        ("perceptron", "0", Granularity.PER_CHANNEL, 4, (9, 1)),
        ("one-dimensional", "0", Granularity.PER_CHANNEL, 4, (6, 1, 1)),
        ("plain", "0", Granularity.PER_TENSOR, 2, ()),
    ],
)
def test_weights_have_scales_of_the_right_shape(
    name: str, layer: str, granularity: Granularity, size: int, shape: tuple[int, ...]
) -> None:
    graph = folded(name)
    change = SpecChange(granularity=granularity, group_size=size, bits=4)
    result = quantize_graph(graph, QuantConfig(rules=(Rule("*", weight=change),)))
    encoding = result.quantizers[f"{layer} weight"].encoding
    assert encoding is not None
    assert encoding.scale.shape == shape
    inputs = CASES[name].inputs(2)
    assert not torch.equal(result(inputs), graph(inputs))


def test_without_calibration_weights_alone_are_quantized() -> None:
    graph, inputs = folded("plain"), CASES["plain"].inputs(4)
    weights_only = quantize_graph(graph, uniform_config(4, 8))
    assert torch.equal(weights_only(inputs), quantize_graph(graph, uniform_config(4, 32))(inputs))
    assert not torch.equal(weights_only(inputs), graph(inputs))


def test_a_site_without_statistics_is_an_error_that_names_its_layer() -> None:
    graph = folded("plain")
    calibration = calibrated(graph, CASES["plain"].inputs(4))
    del calibration["3"]
    with pytest.raises(CalibrationError, match=r"Layer '3' has no statistics.*Calibrate first"):
        quantize_graph(graph, QuantConfig(), calibration)
    floating = QuantConfig(rules=(Rule("3", activation=SpecChange(bits=32)),))
    assert quantize_graph(graph, floating, calibration).quantizers["3"].encoding is None


def test_an_input_range_stands_in_for_statistics_of_the_input() -> None:
    graph = folded("plain")
    calibration = calibrated(graph, CASES["plain"].inputs(4))
    del calibration["input"]
    result = quantize_graph(graph, QuantConfig(), calibration, input_range=(-2.0, 3.0))
    wanted = encode_range(torch.tensor(-2.0), torch.tensor(3.0), QuantSpec(8, symmetric=False))
    encoding = result.quantizers["input"].encoding
    assert encoding is not None
    assert (encoding.scale, encoding.zero_point) == (wanted.scale, wanted.zero_point)


def test_statistics_of_the_input_are_worth_more_than_its_range() -> None:
    graph = folded("plain")
    calibration = calibrated(graph, CASES["plain"].inputs(4))
    plain, given = (
        quantize_graph(graph, QuantConfig(), calibration, input_range=limits)
        for limits in (None, (-100.0, 100.0))
    )
    assert _scale(plain, "input") == _scale(given, "input") < 0.1


def test_cross_entropy_for_the_whole_network_means_the_logits_and_mse_elsewhere() -> None:
    graph = folded("plain")
    calibration = calibrated(graph, CASES["plain"].inputs(64))

    def scales(estimator: Estimator) -> dict[str, float]:
        rule = Rule("*", activation=SpecChange(bits=3, estimator=estimator))
        result = quantize_graph(graph, QuantConfig(rules=(rule,)), calibration)
        return {s.name: _scale(result, s.name) for s in result.sites if s.side is Side.ACTIVATIONS}

    by_mse, by_entropy = scales(Estimator.MSE), scales(Estimator.CROSS_ENTROPY)
    assert [name for name in by_mse if by_mse[name] != by_entropy[name]] == ["8"]


def _scale(result: QuantGraph, name: str) -> float:
    encoding = result.quantizers[name].encoding
    assert encoding is not None
    return float(encoding.scale)


def test_quantizing_leaves_the_graph_as_it_was() -> None:
    graph, inputs = folded("kitchen"), CASES["kitchen"].inputs(4)
    wanted, nodes = graph(inputs), [node.name for node in graph.module.graph.nodes]
    result = quantize_graph(graph, uniform_config(2, 2), calibrated(graph, inputs))
    result.graph.store_tensor("conv1.weight", torch.zeros(8, 3, 3, 3))
    assert torch.equal(graph(inputs), wanted)
    assert [node.name for node in graph.module.graph.nodes] == nodes
