"""Which layers may share a scale with which, and the reason why the others may not."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import (
    Pair,
    find_layer_pairs,
    scale_input_channels,
    weights_by_input_channel,
)
from quant.passes.fold_batch_norm import FoldBatchNorm
from sample_models.imbalanced import ClippedReLU
from tests.networks import Wired, graph_of
from tests.quant.passes.connected import FOUND, IMAGE, Cap, conv, each, joined, linear, wide

Wire = Callable[[Wired, Tensor], Tensor]


@pytest.mark.parametrize("name", FOUND)
def test_a_connection_that_scales_makes_one_pair(name: str) -> None:
    wanted = FOUND[name]
    pairs, unpaired = find_layer_pairs(joined(name))
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b")]
    assert (len(pairs[0].clips), pairs[0].sloped) == (wanted.clips, wanted.sloped)
    assert [(entry.layer, entry.reason) for entry in unpaired] == [
        ("b", "its output is the network's")
    ]


def through(middle: Callable[[Tensor], Tensor]) -> Wire:
    return lambda m, x: m.b(middle(m.a(x)))


def between(
    middle: Callable[[Tensor], Tensor] | nn.Module,
    a: Callable[[], nn.Module] = conv(),  # noqa: B008  makes a maker, not a layer
    b: Callable[[], nn.Module] = wide(),  # noqa: B008
) -> Callable[[], nn.Module]:
    """Return a network of `a` and `b` with something between."""
    parts = {"middle": middle} if isinstance(middle, nn.Module) else {}
    return lambda: Wired(through(middle), a=a(), b=b(), **parts)


class ComputedBias(nn.Module):
    """A layer whose bias is the result of an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Linear(6, 4)
        self.weight, self.shift = nn.Parameter(torch.randn(6, 3)), nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(F.linear(x, self.weight, self.shift * x.mean()))
        return out


def fork() -> nn.Module:
    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.a(x).relu()
        return m.b(x) + m.c(x)

    return Wired(wire, a=conv()(), b=wide()(), c=wide()())


def skip() -> nn.Module:
    return Wired(lambda m, x: m.b(m.a(x) + x), a=nn.Conv2d(3, 3, 3, padding=1), b=conv()())


def shared_second() -> nn.Module:
    return Wired(lambda m, x: m.b(m.b(m.a(x))), a=nn.Conv2d(3, 3, 3), b=nn.Conv2d(3, 3, 3))


def scaled_by_input() -> nn.Module:
    def wire(m: Wired, x: Tensor) -> Tensor:
        return m.b(F.conv2d(x, m.get_parameter("a.weight") * x.mean()))

    return Wired(wire, a=nn.Conv2d(3, 6, 3), b=wide()())


SHUFFLE = torch.tensor([3, 0, 5, 1, 2, 4])
LOW = torch.full((6, 1, 1), -0.5)
# network, shape of an image, and what the reason must name; `a` must begin no pair
REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "fork": (fork, IMAGE, "forks to 2: b, c"),
    "add": (skip, (3, 8, 8), "add follows"),
    "add itself": (between(lambda x: x + x), IMAGE, "add follows"),
    "gate": (between(lambda x: x * x.sigmoid()), IMAGE, "forks to 2: sigmoid, mul"),
    "silu": (between(F.silu), IMAGE, "silu follows"),
    "gelu": (between(F.gelu), IMAGE, "gelu follows"),
    "hardswish": (between(F.hardswish), IMAGE, "hardswish follows"),
    "clip below zero": (between(nn.Hardtanh(-1.0, 1.0)), IMAGE, "hardtanh follows"),
    "clip above zero": (between(lambda x: x.clamp(0.5, 6)), IMAGE, "clamp follows"),
    "floor": (
        between(Cap(each().reshape(6, 1, 1), lambda x, cap: torch.clamp(x, LOW, cap))),
        IMAGE,
        "clamp follows",
    ),
    "floor alone": (
        between(Cap(LOW, lambda x, low: torch.clamp(x, min=low))),
        IMAGE,
        "clamp follows",
    ),
    "minimum of two activations": (
        lambda: Wired(
            lambda m, x: m.b(torch.minimum(m.a(x), m.c(x))), a=conv()(), b=wide()(), c=conv()()
        ),
        IMAGE,
        "minimum follows",
    ),
    "caps along the width": (between(Cap(each(), torch.minimum)), IMAGE, "minimum follows"),
    "pad with one": (between(lambda x: F.pad(x, (1, 1), value=1.0)), IMAGE, "pad follows"),
    "pad by reflection": (
        between(lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
        IMAGE,
        "pad follows",
    ),
    "spread over positions": (
        between(lambda x: x.flatten(1), b=linear(6 * 36)),
        IMAGE,
        "flatten follows",
    ),
    "reversed channels": (between(lambda x: x.flip(1)), IMAGE, "flip follows"),
    "rolled channels": (between(lambda x: x.roll(1, 1)), IMAGE, "roll follows"),
    "shuffled channels": (between(nn.ChannelShuffle(2)), IMAGE, "channel_shuffle follows"),
    "features in another order": (
        between(lambda x: x.index_select(1, SHUFFLE), linear(3, 6), linear()),
        (3,),
        "index_select",
    ),
    "axes swapped": (between(lambda x: x.transpose(2, 1)), (3, 8, 8), "transpose follows"),
    "linear over the width": (between(F.relu, b=linear()), IMAGE, "channels of b do not"),
    "convolution over tokens": (
        between(F.relu, linear(3, 6), lambda: nn.Conv1d(6, 4, 3)),
        (6, 3),
        "channels of b do not",
    ),
    "pool over features": (
        between(lambda x: F.avg_pool1d(x, 3, 1, 1), linear(3, 6), linear()),
        (4, 3),
        "avg_pool1d",
    ),
    "mean over channels": (between(lambda x: x.mean((1, 2)), b=linear()), IMAGE, "mean follows"),
    "layer norm": (between(nn.LayerNorm(6), linear(3, 6), linear()), (3,), "middle follows"),
    "shared second": (shared_second, (3, 9, 9), "b has a weight that is shared"),
    "computed weight": (scaled_by_input, IMAGE, "its weight is shared, computed"),
    "computed bias": (ComputedBias, (3,), "its bias is computed"),
    "transposed first": (
        between(F.relu, lambda: nn.ConvTranspose2d(3, 6, 3)),
        IMAGE,
        "of a transposed convolution",
    ),
    "transposed second": (
        between(F.relu, b=lambda: nn.ConvTranspose2d(6, 6, 3)),
        IMAGE,
        "shared, computed, or transp",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_else_follows_ends_the_connection_and_is_named(name: str) -> None:
    build, shape, words = REFUSED[name]
    pairs, unpaired = find_layer_pairs(capture_graph(build().eval(), shape))
    assert pairs == ()
    reasons = [entry.reason for entry in unpaired]
    assert words in reasons[0]
    assert all(reasons)


def test_every_weighted_layer_begins_a_pair_or_is_listed_with_a_reason() -> None:
    for case in ("plain", "kitchen", "gated", "attention", "grouped", "fashion-resnet"):
        graph = graph_of(case)
        pairs, unpaired = find_layer_pairs(graph)
        listed = [pair.first for pair in pairs] + [entry.layer for entry in unpaired]
        weighted = [layer.name for layer in graph.layers if layer.weight]
        assert sorted(listed) == sorted(weighted), case


def folded(case: str) -> FloatGraph:
    return FoldBatchNorm()(graph_of(case))


def test_depthwise_triples_are_two_pairs_that_share_the_depthwise_layer() -> None:
    pairs = find_layer_pairs(folded("fashion-mobilenet"))[0]
    triples = [(one.first, one.second, two.second) for one, two in pairwise(pairs)
               if one.second == two.first]  # fmt: skip
    assert ("blocks.1.expand.0", "blocks.1.depthwise.0", "blocks.1.project.0") in triples


def test_efficientnet_lite0_has_35_pairs_all_inside_its_blocks() -> None:
    pairs, unpaired = find_layer_pairs(folded("efficientnet-lite0"))
    assert len(pairs) == 35
    assert len(unpaired) == 15
    assert sum(len(pair.clips) for pair in pairs) >= 33


def test_only_the_inside_of_a_residual_block_is_paired() -> None:
    graph = folded("fashion-resnet")
    pairs, unpaired = find_layer_pairs(graph)
    assert {(pair.first.rsplit(".", 1)[0], pair.second.rsplit(".", 1)[0]) for pair in pairs}
    for pair in pairs:
        assert pair.first.split(".")[:2] == pair.second.split(".")[:2]
    assert any("add follows" in entry.reason for entry in unpaired)


def test_weights_by_input_channel_hold_all_that_multiplies_a_channel() -> None:
    weight = torch.arange(2.0 * 3 * 2).reshape(6, 2, 1)  # three groups of two outputs, two inputs
    found = weights_by_input_channel(weight, 3)
    assert found.tolist() == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11]]
    scaled = scale_input_channels(weight, torch.tensor([1.0, 10, 2, 20, 3, 30]), 3)
    assert scaled.flatten().tolist() == [0, 10, 2, 30, 8, 100, 12, 140, 24, 270, 30, 330]


def test_pairs_say_where_the_channels_are_at_each_clip() -> None:
    axes = {name: find_layer_pairs(joined(name))[0][0].clip_axes for name in FOUND}
    assert axes["relu6"] == axes["pool, flatten, clip"] == axes["linear, relu6"] == (1,)
    assert axes["two clips"] == (1, 1)
    assert axes["tokens, relu6"] == (2,)
    assert axes["features of an image"] == (3,)
    assert axes["relu"] == Pair("a", "b").clip_axes == ()


def test_clipped_relu_of_the_sample_is_followed() -> None:
    graph = capture_graph(Wired(lambda m, x: m.b(m.cap(m.a(x))), a=conv()(), b=wide()(),
                          cap=ClippedReLU(each())), IMAGE)  # fmt: skip
    assert find_layer_pairs(graph)[0][0].clips == ("clamp",)
