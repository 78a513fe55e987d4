"""Rows that stand for a layer: the patches it sees and what the float network gives there."""

from collections.abc import Callable
from math import prod

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.walk import Walk
from quant.passes import samples as samples_module
from quant.passes.samples import collect_samples, fused_activation_of, reason_against_rows
from sample_models.imbalanced import ClippedReLU
from tests.networks import Wired

IMAGE = (4, 9, 8)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain": (lambda: nn.Conv2d(4, 6, 3), IMAGE),
    "stride": (lambda: nn.Conv2d(4, 6, 3, stride=(2, 3)), IMAGE),
    "padding": (lambda: nn.Conv2d(4, 6, 3, padding=1), IMAGE),
    "uneven padding": (lambda: nn.Conv2d(4, 6, (3, 5), padding=(0, 2)), IMAGE),
    "dilation": (lambda: nn.Conv2d(4, 6, 3, dilation=(2, 1)), IMAGE),
    "all of them": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 3)),
        IMAGE,
    ),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1), IMAGE),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4, stride=2, padding=1), IMAGE),
    "valid": (lambda: nn.Conv2d(4, 6, 3, padding="valid"), IMAGE),
    "same": (lambda: nn.Conv2d(4, 6, 3, padding="same"), IMAGE),
    "same, dilated": (lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2), IMAGE),
    "same, even": (lambda: nn.Conv2d(4, 6, (4, 2), padding="same"), IMAGE),
    "same, even, dilated": (lambda: nn.Conv2d(4, 6, 2, padding="same", dilation=3), IMAGE),
    "linear": (lambda: nn.Linear(7, 5), (7,)),
    "tokens": (lambda: nn.Linear(7, 5), (4, 7)),
    "features of an image": (lambda: nn.Linear(7, 5), (3, 4, 7)),
}


def drawn(
    graph: FloatGraph, batches: list[Tensor], rows: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    layer = graph["layer"]
    received = Walk(graph.module, batches).input_of_node(layer.node)
    given = Walk(graph.module, batches).output_of_node(layer.node)
    generator = torch.Generator().manual_seed(seed)
    found = collect_samples(graph, layer, received, given, rows, generator)
    return found.inputs, found.outputs


def case(name: str) -> tuple[FloatGraph, list[Tensor]]:
    build, shape = LAYERS[name]
    torch.manual_seed(0)
    graph = capture_graph(Wired(lambda m, x: m.layer(x), layer=build()), shape)
    return graph, [torch.randn(count, *shape) for count in (2, 1, 3)]


@pytest.mark.parametrize("name", LAYERS)
def test_weights_times_rows_are_the_layers_outputs(name: str) -> None:
    graph, batches = case(name)
    inputs, outputs = drawn(graph, batches, 60)
    layer = graph["layer"]
    weight, groups = graph.stored_tensor("layer.weight"), inputs.shape[1]
    grouped = weight.reshape(groups, len(weight) // groups, -1)
    product = torch.einsum("rgk,gok->rgo", inputs, grouped).flatten(1)
    assert torch.allclose(product + graph.bias_of_layer(layer), outputs, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_all_positions_come_once_where_there_is_room_for_them(name: str) -> None:
    graph, batches = case(name)
    _, outputs = drawn(graph, batches, 10_000)
    whole = []
    for batch in batches:
        result = graph(batch)
        channels_last = result.movedim(1, -1) if LAYERS[name][1] == IMAGE else result
        whole.append(channels_last.reshape(-1, channels_last.shape[-1]))
    wanted = torch.cat(whole)
    assert outputs.shape == wanted.shape
    assert torch.allclose(outputs.sort(0).values, wanted.sort(0).values, atol=1e-6)


@pytest.mark.parametrize("name", ["padding", "same, dilated", "all of them", "depthwise"])
def test_patches_equal_those_of_unfold(name: str) -> None:
    graph, batches = case(name)
    inputs, _ = drawn(graph, batches, 10_000)
    module = LAYERS[name][0]()
    assert isinstance(module, nn.Conv2d)
    padding = (2, 2) if module.padding == "same" else module.padding
    assert isinstance(padding, tuple)
    unfolded = [
        F.unfold(batch, module.kernel_size, module.dilation, padding, module.stride)
        .transpose(1, 2)
        .flatten(0, 1)
        for batch in batches
    ]
    rows, wanted = inputs.flatten(1), torch.cat(unfolded)
    assert rows.shape == wanted.shape
    order, other = (
        torch.argsort(part @ torch.arange(1.0, part.shape[1] + 1)) for part in (rows, wanted)
    )
    assert torch.equal(rows[order], wanted[other])


def test_about_as_many_rows_as_asked_for_equally_many_from_each_image() -> None:
    graph, batches = case("plain")
    assert len(drawn(graph, batches, 60)[0]) == 60  # six images, ten positions each
    assert len(drawn(graph, batches, 65)[0]) == 60
    assert len(drawn(graph, batches, 1)[0]) == 6  # one at least


def test_rows_are_bounded_by_the_numbers_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, batches = case("groups")
    size = prod((4, 3, 3))
    monkeypatch.setattr(samples_module, "MOST_NUMBERS", 30 * size)
    assert drawn(graph, batches, 10_000)[0].numel() == 30 * size


def test_the_seed_alone_decides_which_rows_are_drawn() -> None:
    graph, batches = case("padding")
    first, again, other = (drawn(graph, batches, 30, seed)[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


FUSED: dict[str, Callable[[Wired, Tensor], Tensor]] = {
    "none": lambda m, x: m.layer(x),
    "relu in place": lambda m, x: F.relu_(m.layer(x)),
    "relu6": lambda m, x: F.relu6(m.layer(x)),
    "caps": lambda m, x: m.cap(m.layer(x)),
    "prelu": lambda m, x: m.prelu(m.layer(x)),
    "one slope": lambda m, x: m.slope(m.layer(x)),
    "scaling, clamp": lambda m, x: (m.layer(x) * 0.25).clamp(min=-0.1, max=0.2),
}


@pytest.mark.parametrize("name", FUSED)
def test_fused_functions_of_rows_equal_those_of_the_network(name: str) -> None:
    torch.manual_seed(0)
    model = Wired(
        FUSED[name],
        layer=nn.Conv2d(3, 5, 3),
        cap=ClippedReLU(torch.linspace(0.05, 0.5, 5)),
        prelu=nn.PReLU(5),
        slope=nn.PReLU(),
    )
    nn.init.uniform_(model.get_parameter("prelu.weight"), -1, 1)
    graph, inputs = capture_graph(model.eval(), (3, 6, 6)), torch.randn(4, 3, 6, 6)
    layer = graph["layer"]
    assert reason_against_rows(graph, layer) == ""
    rows = F.conv2d(inputs, graph.stored_tensor("layer.weight"), graph.stored_tensor("layer.bias"))
    rows = rows.movedim(1, -1).reshape(-1, 5)
    wanted = graph(inputs).movedim(1, -1).reshape(-1, 5)
    assert torch.allclose(fused_activation_of(graph, layer)(rows.clone()), wanted, atol=1e-6)


class Beside(nn.Module):
    """A layer with a stored tensor beside its result."""

    def __init__(self, layer: nn.Module, held: Tensor) -> None:
        super().__init__()
        self.layer, self.held = layer, nn.Parameter(held)

    def forward(self, x: Tensor) -> Tensor:
        return torch.minimum(self.layer(x), self.held)


REFUSED: dict[str, tuple[nn.Module, tuple[int, ...], str]] = {
    "flat convolution": (
        Wired(lambda m, x: m.layer(x), layer=nn.Conv1d(3, 4, 3)),
        (3, 8),
        "plain 2-d convolution",
    ),
    "transposed": (
        Wired(lambda m, x: m.layer(x), layer=nn.ConvTranspose2d(3, 4, 3)),
        (3, 8, 8),
        "plain 2-d convolution",
    ),
    "slopes of tokens": (
        Wired(lambda m, x: m.act(m.layer(x)), layer=nn.Linear(7, 6), act=nn.PReLU(5)),
        (5, 7),
        "differs between positions",
    ),
    "caps along the width": (
        Beside(nn.Conv2d(3, 4, 3), torch.ones(6)),
        (3, 8, 8),
        "differs between positions",
    ),
    "two activations": (
        Wired(
            lambda m, x: torch.minimum(m.layer(x), m.other(x)),
            layer=nn.Conv2d(3, 4, 3),
            other=nn.Conv2d(3, 4, 3),
        ),
        (3, 8, 8),
        "function of two activations",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_rows_cannot_stand_for_say_why(name: str) -> None:
    model, shape, words = REFUSED[name]
    graph = capture_graph(model.eval(), shape)
    assert words in reason_against_rows(graph, graph["layer"])
