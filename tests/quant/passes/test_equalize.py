"""Equalization: both ranges become sqrt(r1 r2), and the float function stays."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import convolution_groups, find_layer_pairs, input_channel_count
from quant.graph.operators import operator_name
from quant.passes.equalize import Equalize, Equalized, name_of_caps, ranges_of_pair
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.passes.methods import Reach
from quant.ranges.batch_norm_moments import propagate_moments
from tests.networks import CASES, Wired, conv_bn, graph_of, randomize_batch_norms
from tests.quant.passes.connected import FOUND, IMAGE, conv, each, joined, linear, spread, wide


def largest_error(wanted: Tensor, got: Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((wanted - got).abs().max() / wanted.abs().max())


def caps(graph: FloatGraph, place: int = 0) -> Tensor:
    """Return the caps (C,) of the first clip of a pair of an equalized graph."""
    return graph.stored_tensor(
        name_of_caps(graph, find_layer_pairs(graph)[0][place].clips[0])
    ).flatten()


@pytest.mark.parametrize("reach", Reach)
@pytest.mark.parametrize("name", FOUND)
def test_both_ranges_of_a_pair_become_the_root_of_their_product(name: str, reach: Reach) -> None:
    graph = joined(name)
    (pair,) = find_layer_pairs(graph)[0]
    before, after = ranges_of_pair(graph, pair, reach)
    assert float((before / after).max() / (before / after).min()) > 3  # something to equalize
    result = Equalize(reach=reach)(graph)
    for found in ranges_of_pair(result.graph, pair, reach):
        assert torch.allclose(found, (before * after).sqrt(), rtol=1e-5)
    assert result.rounds == 2  # one that equalizes, one that finds nothing left to do


@pytest.mark.parametrize("name", FOUND)
def test_the_float_function_stays_through_every_connection(name: str) -> None:
    graph, inputs = joined(name), FOUND[name].inputs()
    wanted = graph(inputs)
    assert largest_error(wanted, Equalize()(graph).graph(inputs)) <= 1e-5


def test_by_hand_one_channel_of_a_linear_pair() -> None:
    graph = capture_graph(nn.Sequential(nn.Linear(2, 1), nn.ReLU6(), nn.Linear(1, 2)), (2,))
    graph.store_tensor("0.weight", torch.tensor([[-8.0, 4.0]]))
    graph.store_tensor("0.bias", torch.tensor([16.0]))
    graph.store_tensor("2.weight", torch.tensor([[0.5], [-0.25]]))
    old = graph.stored_tensor("2.bias").clone()
    found = Equalize()(graph).graph  # s = sqrt(8 / 0.5) = 4
    assert found.stored_tensor("0.weight").tolist() == [[-2.0, 1.0]]
    assert found.stored_tensor("0.bias").tolist() == [4.0]
    assert found.stored_tensor("2.weight").tolist() == [[2.0], [-1.0]]
    assert torch.equal(found.stored_tensor("2.bias"), old)
    assert caps(found).tolist() == [1.5]  # 6 / s


@pytest.mark.parametrize("name", ["relu6", "hardtanh from 0", "caps", "clamp above"])
def test_caps_are_divided_by_the_scale_of_their_channel(name: str) -> None:
    graph = joined(name)
    (pair,) = find_layer_pairs(graph)[0]
    before, after = ranges_of_pair(graph, pair)
    found = Equalize()(graph).graph
    old = {"relu6": torch.tensor(6.0), "caps": each()}.get(name, torch.tensor(1.5))
    assert torch.allclose(caps(found), old / (before / after).sqrt(), rtol=1e-5)


def test_grouped_layers_use_the_range_of_each_input_channel_by_hand() -> None:
    graph = joined("groups into groups")
    pair = find_layer_pairs(graph)[0][0]
    weight = graph.stored_tensor(
        "b.weight"
    )  # (3, 2, 3, 3): outputs 0, 1, 2 see channels 01, 23, 45
    assert (convolution_groups(graph, graph["b"]), input_channel_count(graph["b"], 3)) == (3, 6)
    wanted = [float(weight[i // 2, i % 2].abs().max()) for i in range(6)]
    assert ranges_of_pair(graph, pair)[1].tolist() == wanted


def triple() -> FloatGraph:
    """Return expand, depthwise, project with ReLU6 between, channels of all sizes."""
    torch.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU6(), nn.Conv2d(8, 4, 1)
    )
    for place in (0, 2):
        spread(model[place])
    return capture_graph(model.eval(), (3, 6, 6))


def test_a_depthwise_triple_ends_with_both_its_pairs_equal() -> None:
    graph = triple()
    result = Equalize()(graph)
    assert [(pair.first, pair.second) for pair in result.pairs] == [("0", "2"), ("2", "4")]
    ranges = [ranges_of_pair(result.graph, pair) for pair in result.pairs]
    for one, other in ranges:
        assert torch.allclose(one, other, rtol=1e-3)
    # a depthwise channel is an input and an output, so all three become the cube root of r1 r2 r3
    expand = graph.stored_tensor("0.weight").flatten(1).abs().amax(1)
    depthwise = graph.stored_tensor("2.weight").flatten(1).abs().amax(1)
    project = graph.stored_tensor("4.weight").abs().amax((0, 2, 3))
    root = (expand * depthwise * project) ** (1 / 3)
    assert torch.allclose(ranges[0][0], root, rtol=2e-3)
    assert torch.allclose(ranges[1][1], root, rtol=2e-3)
    inputs = 4 * torch.randn(4, 3, 6, 6)
    assert largest_error(graph(inputs), result.graph(inputs)) <= 1e-5


NETWORKS = ("plain", "one-dimensional", "perceptron", "fashion-mobilenet-imbalanced")


@pytest.mark.parametrize("case", NETWORKS)
def test_a_second_run_finds_nothing_to_do(case: str) -> None:
    once = Equalize()(FoldBatchNorm()(graph_of(case)))
    twice = Equalize()(once.graph)
    assert twice.pairs
    assert twice.rounds <= 2
    for pair in twice.pairs:
        old, new = ranges_of_pair(once.graph, pair), ranges_of_pair(twice.graph, pair)
        for one, other in zip(old, new, strict=True):
            assert torch.allclose(one, other, rtol=1e-3)


def test_on_the_imbalanced_sample_all_pairs_end_equal() -> None:
    graph = FoldBatchNorm()(graph_of("fashion-mobilenet-imbalanced"))
    result = Equalize()(graph)
    assert len(result.pairs) == 17

    def ratio(of: FloatGraph) -> float:
        quotients = [
            one / other for one, other in (ranges_of_pair(of, pair) for pair in result.pairs)
        ]
        return max(float(torch.maximum(q, 1 / q).max()) for q in quotients)

    assert ratio(graph) > 30
    assert ratio(result.graph) < 1.01


def test_zero_channels_keep_a_scale_of_one() -> None:
    torch.manual_seed(0)
    graph = capture_graph(nn.Sequential(nn.Linear(3, 4), nn.ReLU6(), nn.Linear(4, 2)), (3,))
    with torch.no_grad():
        graph.stored_tensor("0.weight")[0] = 0
        graph.stored_tensor("2.weight")[:, 1] = 0
    found = Equalize()(graph).graph
    assert caps(found).tolist()[:2] == [6.0, 6.0]
    for name in ("0.weight", "0.bias"):
        assert torch.equal(found.stored_tensor(name)[:2], graph.stored_tensor(name)[:2])
    inputs = torch.randn(32, 3)
    assert largest_error(graph(inputs), found(inputs)) <= 1e-6


def test_extreme_channels_leave_finite_numbers() -> None:
    graph = capture_graph(nn.Sequential(nn.Linear(3, 4), nn.ReLU6(), nn.Linear(4, 2)), (3,))
    with torch.no_grad():
        graph.stored_tensor("0.weight")[0] = 1e-30
        graph.stored_tensor("0.weight")[1] = 1e25
    found = Equalize()(graph).graph
    assert all(bool(torch.isfinite(value).all()) for value in found.module.state_dict().values())


def test_without_a_pair_nothing_happens() -> None:
    graph = graph_of("kitchen")
    result = Equalize()(graph)
    assert (result.pairs, result.rounds) == ((), 0)
    for name, value in graph.module.state_dict().items():
        assert torch.equal(result.graph.stored_tensor(name), value)


def test_no_tensor_is_left_that_the_graph_does_not_use() -> None:
    for name in ("caps", "caps of four axes", "two clips", "one cap, a tensor"):
        module = Equalize()(joined(name)).graph.module
        used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
        assert set(module.state_dict()) == used, name


def normal_net() -> FloatGraph:
    """Return conv, batch norm, ReLU6, conv, batch norm, ReLU, linear; folded."""
    torch.manual_seed(3)
    model = nn.Sequential(
        *conv_bn(3, 6), nn.ReLU6(), *conv_bn(6, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    randomize_batch_norms(model)
    return FoldBatchNorm()(capture_graph(model.eval(), (3, 6, 6)))


def test_what_batch_norms_say_is_divided_by_the_scales() -> None:
    graph = normal_net()
    result = Equalize()(graph)
    for pair in result.pairs:
        node = graph[pair.first].node
        bias = str(graph[pair.first].bias)  # divided by the scales and by nothing else
        scales = graph.stored_tensor(bias) / result.graph.stored_tensor(bias)
        assert float((scales - 1).abs().max()) > 0.05
        old, new = graph.normals[node], result.graph.normals[node]
        assert torch.allclose(new.mean, old.mean / scales, rtol=1e-5)
        assert torch.allclose(new.std, old.std / scales, rtol=1e-5)


def test_moments_of_the_equalized_graph_equal_monte_carlo_of_its_own_activations() -> None:
    """Draw the first layer's channels as its batch norm says, run the equalized clip on them."""
    graph = normal_net()
    result = Equalize()(graph).graph
    layer = graph["0"]
    normal, top = result.normals[layer.node], caps(result)
    drawn = (torch.randn(400_000, 6) * normal.std + normal.mean).clamp(min=0).minimum(top)
    known = propagate_moments(result)[result[layer.name].output]
    spread_of = drawn.std(0)
    assert ((known.mean - drawn.mean(0)).abs() <= 0.01 * spread_of + 1e-4).all()
    assert torch.allclose(known.std, spread_of, rtol=0.02)
    low, high = known.range_of_channels()
    assert float(low) == 0.0
    wide_enough = (normal.mean + 6 * normal.std).minimum(top).max()
    assert float(wide_enough) <= float(high) <= float(top.max()) * (1 + 1e-6)


def test_relu6_as_relu_leaves_no_clip_and_changes_the_function() -> None:
    for name in ("relu6", "hardtanh from 0", "caps"):
        graph, inputs = joined(name), FOUND[name].inputs()
        result = Equalize(replace_relu6=True)(graph)
        assert [pair.clips for pair in result.pairs] == [()], name
        names = {operator_name(node) for node in result.graph.module.graph.nodes}
        assert "aten.relu.default" in names, name
        assert largest_error(graph(inputs), result.graph(inputs)) > 0.01, name
        # what it computes instead: the same network with plain ReLU
        middle = F.conv2d(
            inputs, graph.stored_tensor("a.weight"), graph.stored_tensor("a.bias")
        ).relu()
        wanted = F.conv2d(middle, graph.stored_tensor("b.weight"), graph.stored_tensor("b.bias"))
        assert largest_error(wanted, result.graph(inputs)) <= 1e-5, name


def test_relu6_as_relu_keeps_clips_that_are_more_than_a_cap() -> None:
    model = Wired(lambda m, x: m.b(F.hardtanh(m.a(x), -1.0, 1.0)), a=conv()(), b=wide()())
    graph, inputs = capture_graph(model, IMAGE), FOUND["relu"].inputs()
    result = Equalize(replace_relu6=True)(graph)
    assert torch.equal(graph(inputs), result.graph(inputs))


def test_a_layer_that_serves_two_pairs_of_one_clip_each_gets_caps_of_its_own() -> None:
    """One ReLU6 module called twice is two nodes, and each has other scales."""
    relu6 = nn.ReLU6()
    model = Wired(
        lambda m, x: m.c(relu6(m.b(relu6(m.a(x))))),
        a=linear(3, 5)(), b=linear(5, 4)(), c=linear(4, 2)(),
    )  # fmt: skip
    graph = capture_graph(model, (3,))
    found: Equalized = Equalize()(graph)
    assert [len(caps(found.graph, place)) for place in range(2)] == [5, 4]
    inputs = 20 * torch.randn(64, 3)
    assert largest_error(graph(inputs), found.graph(inputs)) <= 1e-5


@pytest.mark.parametrize("case", ["plain", "fashion-mobilenet", "fashion-resnet"])
def test_channels_of_very_unequal_size_keep_the_function(case: str) -> None:
    """Spoil a network by the inverse of equalization, with factors up to e^4, and repair it."""
    graph = FoldBatchNorm()(graph_of(case))
    spoilt = graph.copy_graph()
    torch.manual_seed(1)
    for layer in spoilt.layers:
        if layer.weight and layer.bias:
            with torch.no_grad():
                factors = torch.exp(4 * torch.rand(layer.weight_shape[0]) - 2)
                spoilt.stored_tensor(layer.weight).mul_(
                    factors.reshape(-1, *[1] * (len(layer.weight_shape) - 1))
                )
    inputs = CASES[case].inputs(4)
    wanted = spoilt(inputs)
    assert largest_error(wanted, Equalize()(spoilt).graph(inputs)) <= 1e-4
