"""Absorbing high biases: exact where the activation is at least c, and what c is."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import find_layer_pairs
from quant.graph.walk import Walk
from quant.passes.absorb_bias import AbsorbBias, mean_after_layer, minima_of_channels
from quant.passes.equalize import Equalize, name_of_caps
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.ranges.batch_norm_moments import propagate_moments
from sample_models.imbalanced import ClippedReLU
from tests.networks import Wired, conv_bn, graph_of, randomize_batch_norms
from tests.quant.passes.connected import FOUND, joined

PAIR = ("a", "b")
CAPS = torch.tensor([5.5, 6.0, 9.0, 40.0, 8.0, 7.0])


@dataclass(frozen=True)
class Raised:
    """A function between two layers, and the layer after it, where absorbing is exact."""

    middle: Callable[[Tensor], Tensor] | nn.Module
    b: Callable[[], nn.Module]
    a: Callable[[], nn.Module] = lambda: nn.Conv2d(3, 6, 3)
    shape: tuple[int, ...] = (3, 8, 8)


def conv(groups: int = 1, c_out: int = 4) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(6, c_out, 3, groups=groups)


EXACT: dict[str, Raised] = {
    "relu": Raised(F.relu, conv()),
    "clamp at zero": Raised(lambda x: x.clamp(min=0), conv()),
    "relu6": Raised(F.relu6, conv()),
    "caps": Raised(ClippedReLU(CAPS), conv()),
    "two clips": Raised(nn.Sequential(nn.ReLU6(), ClippedReLU(CAPS)), conv()),
    "grouped": Raised(F.relu6, conv(groups=3, c_out=9)),
    "depthwise": Raised(F.relu6, conv(groups=6, c_out=12)),
    "no bias behind": Raised(F.relu, lambda: nn.Conv2d(6, 4, 3, bias=False)),
    "same, one position": Raised(F.relu, lambda: nn.Conv2d(6, 4, 1, padding="same")),
    "valid": Raised(F.relu, lambda: nn.Conv2d(6, 4, 3, padding="valid", dilation=2)),
    "max pool with padding": Raised(lambda x: F.max_pool2d(x.relu(), 3, 2, 1), conv()),
    "average pool": Raised(lambda x: F.avg_pool2d(x.relu(), 2, 1), conv()),
    "pool and flatten": Raised(
        lambda x: F.adaptive_avg_pool2d(F.relu6(x), 1).flatten(1), lambda: nn.Linear(6, 4)
    ),
    "pool, flatten, clip": Raised(
        lambda x: F.relu6(F.adaptive_avg_pool2d(x, 1).flatten(1)), lambda: nn.Linear(6, 4)
    ),
    "tokens": Raised(F.relu6, lambda: nn.Linear(6, 4), lambda: nn.Linear(7, 6), (5, 7)),
    "features of an image": Raised(
        F.relu, lambda: nn.Linear(6, 4), lambda: nn.Linear(7, 6), (3, 5, 7)
    ),
    "flat convolution": Raised(
        F.relu6, lambda: nn.Conv1d(6, 4, 3), lambda: nn.Conv1d(3, 6, 3), (3, 9)
    ),
}


def raised(entry: Raised) -> FloatGraph:
    """Return the network with biases of 4 to 6 in `a`, above whatever small weights add."""
    torch.manual_seed(0)
    a, b, middle = entry.a(), entry.b(), entry.middle
    parts = {"middle": middle} if isinstance(middle, nn.Module) else {}
    graph = capture_graph(
        Wired(lambda m, x: m.b(middle(m.a(x))), a=a, b=b, **parts).eval(), entry.shape
    )
    graph.store_tensor("a.weight", graph.stored_tensor("a.weight") * 0.5)
    graph.store_tensor("a.bias", torch.linspace(4, 6, 6))
    return graph


def images(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(16, *shape, generator=torch.Generator().manual_seed(1)) - 0.5


@pytest.mark.parametrize("name", EXACT)
def test_with_minima_of_the_images_it_is_exact_on_them(name: str) -> None:
    entry = EXACT[name]
    graph, inputs = raised(entry), images(entry.shape)
    minima = minima_of_channels(graph, list(inputs.split(5)))
    assert bool((minima["a"] > 1).all())  # something to absorb
    found = AbsorbBias()(graph, minima)
    assert found.inexact == ()
    assert torch.allclose(found.graph(inputs), graph(inputs), rtol=1e-5, atol=1e-5)
    shift = found.shifts[PAIR]
    assert torch.allclose(
        found.graph.stored_tensor("a.bias"),
        graph.stored_tensor("a.bias") - shift,
        rtol=0,
        atol=1e-6,
    )
    assert float(shift.min()) > 1


@pytest.mark.parametrize("name", EXACT)
def test_minima_are_the_least_values_before_the_activation_function(name: str) -> None:
    entry = EXACT[name]
    graph, inputs = raised(entry), images(entry.shape)
    (value,) = Walk(graph.module, [inputs]).output_of_node(graph["a"].node)
    axis = value.dim() - 1 if isinstance(entry.a(), nn.Linear) else 1
    wanted = [float(value.select(axis, channel).min()) for channel in range(6)]
    minima = minima_of_channels(graph, list(inputs.split(5)))
    assert list(minima) == ["a"]  # only what begins a pair
    assert minima["a"].tolist() == wanted


@pytest.mark.parametrize("name", ["relu6", "caps", "two clips", "depthwise"])
def test_caps_fall_by_what_is_absorbed(name: str) -> None:
    graph = raised(EXACT[name])
    minima = {"a": torch.tensor([1.0, 0.0, -3.0, 2.0, 4.0, 0.5])}
    found = AbsorbBias()(graph, minima).graph
    shift = torch.tensor([1.0, 0.0, 0.0, 2.0, 4.0, 0.5])
    caps = [
        found.stored_tensor(name_of_caps(found, clip)).flatten()
        for clip in find_layer_pairs(found)[0][0].clips
    ]
    old = {"caps": [CAPS], "two clips": [torch.full((6,), 6.0), CAPS]}
    wanted = [cap - shift for cap in old.get(name, [torch.full((6,), 6.0)])]
    assert [cap.tolist() for cap in caps] == [cap.tolist() for cap in wanted]


def test_a_channel_that_always_lies_above_its_cap_gives_the_cap_and_no_more() -> None:
    graph = capture_graph(nn.Sequential(nn.Linear(1, 2), nn.ReLU6(), nn.Linear(2, 2)), (1,))
    graph.store_tensor("0.weight", torch.tensor([[1.0], [1.0]]))
    graph.store_tensor("0.bias", torch.tensor([20.0, 3.0]))
    inputs = torch.linspace(-2, 2, 9)[:, None]
    found = AbsorbBias()(graph, minima_of_channels(graph, [inputs]))
    assert found.shifts["0", "2"].tolist() == [6.0, 1.0]  # 20 - 2 is more than the cap
    assert found.graph.stored_tensor(name_of_caps(found.graph, "hardtanh")).tolist() == [0.0, 5.0]
    assert torch.allclose(found.graph(inputs), graph(inputs), atol=1e-5)


def batch_normed(middle: nn.Module, **options: int) -> FloatGraph:
    torch.manual_seed(0)
    model = nn.Sequential(*conv_bn(3, 6), middle, nn.Conv2d(6, 4, 3, **options))  # type: ignore[arg-type]
    randomize_batch_norms(model)
    nn.init.uniform_(model.get_parameter("1.bias"), -2, 8)
    return FoldBatchNorm()(capture_graph(model.eval(), (3, 8, 8)))


def test_without_data_c_is_beta_less_three_gamma_by_hand() -> None:
    graph = batch_normed(nn.ReLU())
    layer = graph["0"]
    normal = graph.normals[layer.node]
    normal.mean.copy_(torch.tensor([5.0, 3.0, 1.0, -4.0, 0.0, 9.0]))
    normal.std.copy_(torch.tensor([1.0, 1.0, 0.5, 0.1, 1.0, 2.5]))
    found = AbsorbBias()(graph)
    assert found.shifts["0", "3"].tolist() == [2.0, 0.0, 0.0, 0.0, 0.0, 1.5]
    after = found.graph.normals[found.graph["0"].node]
    assert after.mean.tolist() == [3.0, 3.0, 1.0, -4.0, 0.0, 7.5]
    assert after.std.tolist() == normal.std.tolist()
    assert normal.mean.tolist()[0] == 5.0  # of the graph that went in


@pytest.mark.parametrize("middle", [nn.ReLU(), nn.ReLU6()], ids=["relu", "relu6"])
def test_exact_where_the_values_before_relu_are_at_least_c(middle: nn.Module) -> None:
    """One position of the second layer at a time: those whose inputs all reach c, and the rest."""
    graph = batch_normed(middle)
    inputs = torch.randn(100, 3, 8, 8)
    (value,) = Walk(graph.module, [inputs]).output_of_node(graph["0"].node)
    low = value.transpose(0, 1).flatten(1).quantile(0.005, dim=1)
    found = AbsorbBias()(graph, {"0": low})
    shift = found.shifts["0", "3"]
    assert int((shift > 0).sum()) >= 2
    moved = shift.reshape(-1, 1, 1)
    short = ((value < moved) & (moved > 0)).any(1, keepdim=True).float()
    exact = F.max_pool2d(short, 3, 1) == 0
    error = (found.graph(inputs) - graph(inputs)).abs().amax(1, keepdim=True)
    assert float(exact.float().mean()) > 0.1
    assert float(error[exact].max()) < 1e-4
    assert float(error[~exact].max()) > 1e-3


def test_absorbing_after_equalization_uses_the_scaled_batch_norms() -> None:
    graph = batch_normed(nn.ReLU6())
    equal = Equalize()(graph).graph
    plain, scaled = (AbsorbBias()(each).shifts["0", "3"] for each in (graph, equal))
    factors = graph.stored_tensor("0.bias") / equal.stored_tensor("0.bias")
    assert torch.allclose(scaled, plain / factors, rtol=1e-4, atol=1e-6)


def test_means_follow_the_shift_so_that_the_next_layers_mean_stays() -> None:
    graph = batch_normed(nn.ReLU())
    found = AbsorbBias()(graph).graph
    before, after = (propagate_moments(each)[each["3"].node] for each in (graph, found))
    # what three sigmas leave below c, 0.0004 of a standard deviation, is lost
    tolerance = 0.002 * graph.stored_tensor("3.weight").abs().sum((1, 2, 3)).max()
    assert float((before.mean - after.mean).abs().max()) < float(tolerance)
    assert torch.allclose(before.std, after.std, rtol=0.01)


INEXACT: dict[str, Raised] = {
    "own padding": Raised(F.relu, lambda: nn.Conv2d(6, 4, 3, padding=1)),
    "one side": Raised(F.relu, lambda: nn.Conv2d(6, 4, 3, padding=(0, 1))),
    "same": Raised(F.relu6, lambda: nn.Conv2d(6, 4, 3, padding="same")),
    "pad": Raised(lambda x: F.pad(x.relu(), (1, 1, 1, 1)), conv()),
    "pad before relu": Raised(lambda x: F.pad(x, (1, 1, 1, 1)).relu(), conv()),
    "pad before a pool": Raised(lambda x: F.max_pool2d(F.pad(x.relu(), (1, 1, 1, 1)), 1), conv()),
    "average pool with padding": Raised(lambda x: F.avg_pool2d(x.relu(), 3, 1, 1), conv()),
}


@pytest.mark.parametrize("name", INEXACT)
def test_behind_padding_the_border_errs_and_the_interior_does_not(name: str) -> None:
    entry = INEXACT[name]
    graph, inputs = raised(entry), images(entry.shape)
    found = AbsorbBias()(graph, minima_of_channels(graph, [inputs]))
    assert found.inexact == (PAIR,)
    error = (found.graph(inputs) - graph(inputs)).abs()
    assert float(error[:, :, 1:-1, 1:-1].max()) < 1e-5
    assert float(error.max()) > 0.1


NOTHING = [
    name for name in FOUND if name.startswith(("nothing", "prelu", "leaky", "linear", "no bias"))
] + ["average pool", "dropout", "nearest upsampling", "largest"]


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_is_absorbed_without_a_rectifier_or_a_bias(name: str) -> None:
    graph = joined(name)
    high = {"a": torch.full((6,), 0.01)}
    found = AbsorbBias()(graph, high)
    if name == "linear, relu6":  # the one that may
        assert found.shifts.keys() == {PAIR}
        return
    assert (found.shifts, found.inexact) == ({}, ())
    inputs = FOUND[name].inputs()
    assert torch.equal(found.graph(inputs), graph(inputs))


def test_without_batch_norms_or_minima_nothing_is_absorbed() -> None:
    for minima in (None, {}, {"a": torch.full((6,), -1.0)}):
        assert AbsorbBias()(joined("relu"), minima).shifts == {}


def test_what_is_carried_sums_over_kernel_positions_and_groups_by_hand() -> None:
    weight = torch.arange(8.0).reshape(2, 2, 2, 1)  # taps: [[0+1, 2+3], [4+5, 6+7]]
    assert mean_after_layer(weight, torch.tensor([1.0, 10.0]), 1).tolist() == [51.0, 139.0]
    # the same as two groups of one output: channels 0, 1 and 2, 3
    shift = torch.tensor([1.0, 10.0, 2.0, 0.0])
    assert mean_after_layer(weight, shift, 2).tolist() == [51.0, 18.0]
    depthwise = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]], [[7.0, 8.0]]])
    assert mean_after_layer(depthwise, torch.tensor([1.0, 10.0]), 2).tolist() == [
        3.0,
        7.0,
        110.0,
        150.0,
    ]
    assert mean_after_layer(torch.eye(3), torch.tensor([1.0, 2.0, 3.0]), 1).tolist() == [
        1.0,
        2.0,
        3.0,
    ]


@pytest.mark.parametrize("case", ["plain", "fashion-mobilenet"])
def test_what_goes_in_stays_and_padded_pairs_are_named(case: str) -> None:
    graph = FoldBatchNorm()(graph_of(case))
    for normal in graph.normals.values():
        normal.mean.add_(6 * normal.std)
    state = {name: value.clone() for name, value in graph.module.state_dict().items()}
    found = AbsorbBias()(graph)
    assert found.shifts
    assert set(found.inexact) <= set(found.shifts)
    for one, other in found.shifts:
        padded = list(found.graph.node_named(found.graph[other].node).args[4:5])
        assert ((one, other) in found.inexact) == (padded not in ([], [[0, 0]]))
    for name, value in graph.module.state_dict().items():
        assert torch.equal(value, state[name]), name
