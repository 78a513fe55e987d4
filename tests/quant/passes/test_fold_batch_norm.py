"""Folding: the equation by hand, which batch norms go and which must stay."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.fold_batch_norm import FoldBatchNorm
from tests.networks import CASES, Case, Wired, graph_of

FOLD = FoldBatchNorm()


def batch_norms(graph: FloatGraph) -> int:
    return sum("batch_norm" in str(node.target) for node in graph.module.graph.nodes)


def test_weight_and_bias_equal_the_equation_by_hand() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, eps=0.0)).eval()
    linear, norm = model
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    linear.weight.data = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
    linear.bias.data = torch.tensor([5.0, 6.0])
    norm.weight.data, norm.bias.data = torch.tensor([2.0, -3.0]), torch.tensor([0.5, 0.25])
    norm.running_mean = torch.tensor([1.0, 2.0])
    norm.running_var = torch.tensor([4.0, 9.0])
    folded = FOLD(capture_graph(model, (2,)))
    # factors 2 / 2 = 1 and -3 / 3 = -1; biases 0.5 + (5 - 1) 1 and 0.25 + (6 - 2) (-1)
    assert folded.stored_tensor("0.weight").tolist() == [[1.0, 2.0], [-3.0, 4.0]]
    assert folded.stored_tensor("0.bias").tolist() == [4.5, -3.75]
    (normal,) = folded.normals.values()
    assert (normal.mean.tolist(), normal.std.tolist()) == ([0.5, 0.25], [2.0, 3.0])


def test_what_a_batch_norm_knew_is_kept_under_the_node_of_its_layer() -> None:
    model, folded = CASES["kitchen"].model(), FOLD(graph_of("kitchen"))
    assert set(folded.normals) == {folded[name].node for name in ("conv1", "conv2")}
    normal = folded.normals[folded["conv1"].node]
    assert torch.equal(normal.mean, model.get_parameter("bn1.bias"))
    assert torch.equal(normal.std, model.get_parameter("bn1.weight").abs())
    assert bool((model.get_parameter("bn1.weight") < 0).any())


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("plain", 0),
        ("kitchen", 0),
        ("gated", 0),
        ("one-dimensional", 0),
        ("transposed", 0),
        ("grouped", 0),
        ("perceptron", 0),
        ("functional", 0),
        ("transposed-grouped", 1),
        ("pre-activation", 2),  # after a convolution that the skip reads too, and after a sum
        ("shared", 2),
        ("scaled", 1),
        ("fashion-mobilenet", 0),
        ("fashion-resnet", 0),
        ("efficientnet-lite0", 0),
    ],
)
def test_every_batch_norm_goes_where_it_can(name: str, left: int) -> None:
    assert batch_norms(graph_of(name)) > 0
    assert batch_norms(FOLD(graph_of(name))) == left


def wild(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Give statistics as found in the wild: variances over six orders, dead channels."""
    norm.running_var = torch.logspace(-4, 2, norm.num_features)
    norm.running_mean = torch.randn(norm.num_features)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    norm.weight.data[0] = 0


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(4, 8, 3, bias=False), (4, 6, 6)),
    "conv with bias": (lambda: nn.Conv2d(4, 8, 3, padding=1), (4, 6, 6)),
    "padding in words": (lambda: nn.Conv2d(4, 8, 3, padding="same"), (4, 6, 6)),
    "circular padding": (lambda: nn.Conv2d(4, 8, 3, padding=1, padding_mode="circular"), (4, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8, bias=False), (8, 6, 6)),
    "depth multiplier": (lambda: nn.Conv2d(4, 8, 3, groups=4), (4, 6, 6)),
    "grouped": (lambda: nn.Conv2d(4, 8, 3, groups=2), (4, 6, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 8, 3, stride=2), (4, 5, 5)),
    "transposed bare": (lambda: nn.ConvTranspose2d(4, 8, 2, bias=False), (4, 5, 5)),
    "square transposed": (lambda: nn.ConvTranspose2d(8, 8, 3), (8, 5, 5)),
    "signal": (lambda: nn.Conv1d(4, 8, 3, dilation=2), (4, 9)),
    "signal transposed": (lambda: nn.ConvTranspose1d(4, 8, 3), (4, 9)),
    "linear": (lambda: nn.Linear(5, 8), (5,)),
    "linear bare": (lambda: nn.Linear(5, 8, bias=False), (5,)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_folding_is_exact_for_every_kind_of_layer(kind: str) -> None:
    build, shape = KINDS[kind]
    layer = build()
    norm = nn.BatchNorm1d(8) if len(shape) < 3 else nn.BatchNorm2d(8)
    wild(norm)
    model = nn.Sequential(layer, norm).eval()
    folded = FOLD(capture_graph(model, shape))
    inputs = torch.randn(4, *shape)
    wanted, got = model(inputs), folded(inputs)
    assert batch_norms(folded) == 0
    # for each channel, whose sizes differ by orders
    difference = (got - wanted).abs().transpose(0, 1).flatten(1).amax(1)
    assert (difference <= 1e-4 * wanted.abs().transpose(0, 1).flatten(1).amax(1)).all()


STAYS: dict[str, Case] = {
    "over tokens": Case(
        lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(7)), (7, 5)
    ),  # its channels are the tokens
    "of the batch": Case(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)),
        (2, 5, 5),
    ),
    "after a ReLU": Case(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)), (2, 5, 5)
    ),
    "of the input": Case(lambda: nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 3, 3)), (2, 5, 5)),
}


@pytest.mark.parametrize("kind", STAYS)
def test_a_batch_norm_that_no_layer_can_take_in_stays_and_the_function_too(kind: str) -> None:
    case = STAYS[kind]
    folded = FOLD(capture_graph(case.model(), case.shape))
    inputs = case.inputs(4)
    assert batch_norms(folded) == 1
    assert not folded.normals
    assert torch.allclose(folded(inputs), case.model()(inputs), rtol=1e-5, atol=1e-6)


def test_a_bias_shared_between_layers_is_left_alone() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
            self.b.bias = self.a.bias
            self.norm = nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.b(self.norm(self.a(x)))
            return out

    case = Case(Shared, (2, 3, 3))
    folded = FOLD(capture_graph(case.model(), case.shape))
    assert torch.allclose(folded(case.inputs(2)), case.model()(case.inputs(2)), atol=1e-6)


def test_two_layers_of_one_owner_keep_biases_of_their_own() -> None:
    folded = FOLD(graph_of("functional"))
    biases = [layer.bias for layer in folded.layers if layer.weight]
    assert len(set(biases)) == 2
    assert "bias" not in biases  # which belongs to the addition


def test_a_batch_norm_whose_layer_feeds_others_too_stays() -> None:
    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.conv(x)
        return m.norm(x) + x

    model = Wired(wire, conv=nn.Conv2d(2, 2, 1), norm=nn.BatchNorm2d(2)).eval()
    folded = FOLD(capture_graph(model, (2, 3, 3)))
    inputs = torch.randn(2, 2, 3, 3)
    assert batch_norms(folded) == 1
    assert torch.equal(folded(inputs), model(inputs))
