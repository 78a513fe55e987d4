"""Means and spreads from batch norms alone, against Monte Carlo and by hand."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.ranges.batch_norm_moments import Moments, clipped_normal_moments, propagate_moments
from tests.networks import Wired, conv_bn, randomize_batch_norms

CLIPS = {
    "relu": (0.0, torch.inf),
    "relu6": (0.0, 6.0),
    "both signs": (-1.0, 2.5),
    "upper": (-torch.inf, 1.0),
    "narrow": (0.4, 0.5),
    "none": (-torch.inf, torch.inf),
}
CHANNELS = list(product((-4.0, -1.0, 0.0, 0.7, 3.0, 8.0), (0.1, 1.0, 3.0)))


@pytest.mark.parametrize("name", CLIPS)
def test_moments_of_a_clipped_normal_equal_monte_carlo(name: str) -> None:
    low, high = CLIPS[name]
    mean, std = torch.tensor(CHANNELS).T
    count = 400_000
    drawn = (torch.randn(count, 1) * std + mean).clamp(low, high).double()
    found = clipped_normal_moments(mean, std, low, high)
    error = drawn.std(0) / count**0.5 * 5 + 1e-6  # five standard errors
    assert ((found.mean - drawn.mean(0)).abs() <= error).all()
    assert torch.allclose(found.std.double(), drawn.std(0), rtol=0.02, atol=1e-3)
    assert (found.low, found.high) == (low, high)


def test_the_mean_after_relu_equals_the_papers_formula_by_hand() -> None:
    found = clipped_normal_moments(
        torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), 0.0, torch.inf
    )
    # gamma N(-beta / gamma) + beta (1 - Phi(-beta / gamma)); N(0) = 0.398942, N(0.5) = 0.352065,
    # Phi(0.5) = 0.691462
    assert found.mean.tolist() == pytest.approx([0.398942, 2 * 0.352065 + 0.691462], rel=1e-5)
    # variance of a half-normal's clip: 1/2 - 1/(2 pi)
    assert float(found.std[0]) == pytest.approx((0.5 - 1 / (2 * torch.pi)) ** 0.5, rel=1e-5)


def test_a_dead_channel_is_a_point() -> None:
    found = clipped_normal_moments(torch.tensor([2.0, -2.0]), torch.zeros(2), 0.0, 1.5)
    assert found.mean.tolist() == pytest.approx([1.5, 0.0])
    assert found.std.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_the_range_reaches_alpha_spreads_from_the_outermost_channels() -> None:
    moments = Moments(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.25]))
    assert [float(end) for end in moments.range_of_channels()] == [-6.0, 6.0]
    assert [float(end) for end in moments.range_of_channels(alpha=2.0)] == [-2.0, 3.5]
    cut = Moments(moments.mean, moments.std, 0.0, 5.5)
    assert [float(end) for end in cut.range_of_channels()] == [0.0, 5.5]


def folded(model: nn.Module, shape: tuple[int, ...]) -> FloatGraph:
    randomize_batch_norms(model)
    return FoldBatchNorm()(capture_graph(model.eval(), shape))


def test_known_sums_pools_and_layers_equal_monte_carlo() -> None:
    """Feed channels drawn as the batch norms say; everything after them must agree."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        left, right = F.relu(m.left(x)), F.relu6(m.right(x))
        total = F.max_pool2d(left, 1) + right
        return m.linear(F.adaptive_avg_pool2d(m.depthwise(total - left), 1).flatten(1))

    graph = folded(
        Wired(
            wire,
            left=conv_bn(3, 4),
            right=conv_bn(3, 4),
            depthwise=nn.Conv2d(4, 8, 1, groups=4),
            linear=nn.Linear(8, 5),
        ),
        (3, 6, 6),
    )
    known = propagate_moments(graph)
    draws = 200_000

    def drawn(layer: str) -> Tensor:
        normal = graph.normals[graph[layer].node]
        return torch.randn(draws, 4) * normal.std + normal.mean

    left, right = drawn("left.0").relu(), drawn("right.0").clamp(0, 6)
    wide = graph.stored_tensor("depthwise.weight").flatten()
    # as `propagate_moments` does, the two terms of the difference count as independent
    other = drawn("left.0").relu()
    deep = (left + right - other).repeat_interleave(2, 1) * wide + graph.stored_tensor(
        "depthwise.bias"
    )
    wanted = {
        "left.0": left,
        "right.0": right,
        "add": left + right,
        "sub": left + right - other,
        "depthwise": deep,
        "linear": F.linear(
            deep, graph.stored_tensor("linear.weight"), graph.stored_tensor("linear.bias")
        ),
    }
    for name, values in wanted.items():
        found = known[graph[name].output]
        assert torch.allclose(found.mean, values.mean(0), atol=0.02, rtol=0.02), name
        if name != "linear":  # its inputs come in pairs that are not independent
            assert torch.allclose(found.std, values.std(0), atol=0.02, rtol=0.02), name


def test_clips_in_a_row_equal_monte_carlo() -> None:
    def wire(m: Wired, x: Tensor) -> Tensor:
        return F.hardtanh(m.conv(x), -0.7, 2.0).relu().clamp(max=1.1)

    graph = folded(Wired(wire, conv=conv_bn(2, 5)), (2, 4, 4))
    normal = graph.normals[graph["conv.0"].node]
    drawn = (torch.randn(400_000, 5) * normal.std + normal.mean).clamp(0, 1.1)
    found = propagate_moments(graph)[graph["conv.0"].output]
    assert torch.allclose(found.mean, drawn.mean(0), atol=0.003)
    assert torch.allclose(found.std, drawn.std(0), atol=0.003)
    assert found.low == 0.0
    assert found.high == pytest.approx(1.1)


class Capped(nn.Module):
    """ReLU, then one cap a channel, as equalization leaves a ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv_bn(2, 5)
        self.cap = nn.Parameter(torch.tensor([0.1, 0.5, 1.0, 2.0, 6.0]).reshape(1, 5, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.minimum(self.conv(x).relu(), self.cap)


def test_a_cap_for_each_channel_equals_monte_carlo() -> None:
    graph = folded(Capped(), (2, 4, 4))
    normal = graph.normals[graph["conv.0"].node]
    drawn = (torch.randn(400_000, 5) * normal.std + normal.mean).clamp(min=0)
    drawn = drawn.minimum(graph.stored_tensor("cap").flatten())
    found = propagate_moments(graph)[graph["conv.0"].output]
    assert torch.allclose(found.mean, drawn.mean(0), atol=0.005, rtol=0.01)
    assert torch.allclose(found.std, drawn.std(0), atol=0.005, rtol=0.01)
    assert (found.low, found.high) == (0.0, 6.0)


def test_a_range_behind_caps_ends_where_the_widest_channel_can_come() -> None:
    graph = folded(Capped(), (2, 4, 4))
    graph.store_tensor("cap", torch.tensor([0.1, 0.5, 0.2, 0.3, 50.0]).reshape(1, 5, 1, 1))
    normal = graph.normals[graph["conv.0"].node]
    free = float(normal.mean[4] + 6 * normal.std[4])
    assert 0.5 < free < 50  # no cap holds the last channel back, each of the others is held back
    low, high = propagate_moments(graph)[graph["conv.0"].output].range_of_channels()
    assert float(low) == 0.0
    assert float(high) == pytest.approx(free)


class CappedAbove(nn.Module):
    """One cap a channel and no floor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv_bn(2, 5)
        self.cap = nn.Parameter(torch.tensor([0.1, 0.5, 1.0, 2.0, 6.0]).reshape(1, 5, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(self.conv(x), max=self.cap)


def test_a_cap_without_a_floor_equals_monte_carlo() -> None:
    graph = folded(CappedAbove(), (2, 4, 4))
    normal = graph.normals[graph["conv.0"].node]
    drawn = (torch.randn(400_000, 5) * normal.std + normal.mean).minimum(
        graph.stored_tensor("cap").flatten()
    )
    found = propagate_moments(graph)[graph["conv.0"].output]
    assert torch.allclose(found.mean, drawn.mean(0), atol=0.01, rtol=0.01)
    assert torch.allclose(found.std, drawn.std(0), atol=0.01, rtol=0.01)
    assert found.low == -torch.inf


def test_what_depends_on_anything_unknown_is_absent() -> None:
    def wire(m: Wired, x: Tensor) -> Tensor:
        known = m.conv(x)
        return torch.cat([known, F.gelu(known) * known], 1) + m.plain(x)

    graph = folded(Wired(wire, conv=conv_bn(2, 2), plain=nn.Conv2d(2, 4, 1)), (2, 4, 4))
    known = propagate_moments(graph)
    assert [layer.name for layer in graph.layers if layer.output in known] == ["conv.0"]


def test_moments_of_the_input_make_its_first_layers_known() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU())
    graph = capture_graph(model, (2, 4, 4))
    assert propagate_moments(graph) == {}
    mean, std = torch.tensor([1.0, -1.0]), torch.tensor([0.5, 2.0])
    known = propagate_moments(graph, Moments(mean, std))
    weight, bias = graph.stored_tensor("0.weight"), graph.stored_tensor("0.bias")
    wanted = weight.sum((2, 3)) @ mean + bias
    assert torch.allclose(known[graph["0"].node].mean, wanted, rtol=1e-5)
    assert graph["0"].output in known
