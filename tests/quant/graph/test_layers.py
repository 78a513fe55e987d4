"""The layers of a graph: names, kinds, fused functions, shapes and costs, all by hand."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.fold_batch_norm import FoldBatchNorm
from tests.networks import CASES, DISTINCT, Wired, graph_of

FOLD = FoldBatchNorm()


def rows(graph: FloatGraph) -> list[str]:
    return [f"{layer.name}: {layer.kind}, {layer.macs} MACs" for layer in graph.layers]


# output height x width x output channels x kernel area x input channels a group
BY_HAND = {
    "kitchen": [
        "input: input, 0 MACs",
        f"conv1: conv, {8 * 8 * 8 * 9 * 3} MACs",
        f"conv2: conv, {8 * 8 * 8 * 9 * 8} MACs",
        "add: add, 0 MACs",
        f"left: conv, {4 * 4 * 4 * 1 * 8} MACs",
        f"right.0: conv, {4 * 4 * 4 * 1 * 8} MACs",
        "cat: concat, 0 MACs",
        "average_pool: average-pool, 0 MACs",
        f"linear: linear, {8 * 5} MACs",
    ],
    "plain": [
        "input: input, 0 MACs",
        f"0: conv, {8 * 8 * 8 * 9 * 3} MACs",
        f"3: depthwise, {8 * 8 * 8 * 9 * 1} MACs",
        "6: average-pool, 0 MACs",
        f"8: linear, {8 * 10} MACs",
    ],
    "gated": [
        "input: input, 0 MACs",
        f"conv1.0: conv, {8 * 8 * 6 * 9 * 3} MACs",
        "silu: activation, 0 MACs",
        "adaptive_avg_pool2d: average-pool, 0 MACs",
        f"squeeze: conv, {6 * 6} MACs",
        "sigmoid: activation, 0 MACs",
        "mul: multiply, 0 MACs",
        f"conv2: conv, {4 * 4 * 4 * 9 * 6} MACs",
        "hardswish: activation, 0 MACs",
        f"linear: linear, {64 * 4} MACs",
    ],
    "attention": [
        "input: input, 0 MACs",
        "norm: norm, 0 MACs",
        *(f"{name}: linear, {8 * 12 * 12} MACs" for name in "qkv"),
        # two heads: 8 x 8 scores over 6 features, then 8 x 6 results over 8 tokens
        f"scaled_dot_product_attention: attention, {2 * (8 * 8 * 6 + 8 * 6 * 8)} MACs",
        f"out: linear, {8 * 12 * 12} MACs",
        "add: add, 0 MACs",
        "gelu: activation, 0 MACs",
        "mean: other, 0 MACs",
        f"head: linear, {12 * 3} MACs",
    ],
    "self-attention": [
        "input: input, 0 MACs",
        f"scaled_dot_product_attention: attention, {2 * (5 * 5 * 4 + 5 * 4 * 5)} MACs",
        f"out: linear, {2 * 5 * 4 * 4} MACs",
    ],
    "one-dimensional": [
        "input: input, 0 MACs",
        f"0: conv, {16 * 6 * 5 * 2} MACs",
        f"3: depthwise, {16 * 6 * 3} MACs",
        "4: average-pool, 0 MACs",
        f"6: linear, {48 * 3} MACs",
    ],
    "transposed": [  # every input value meets the whole kernel of every output channel
        "input: input, 0 MACs",
        f"0: conv, {4 * 5 * 5 * 9 * 6} MACs",
        f"3: conv, {6 * 6 * 2 * 9 * 6} MACs",
    ],
    "transposed-grouped": [
        "input: input, 0 MACs",
        f"0: conv, {4 * 5 * 5 * 9 * 3} MACs",
        "1: norm, 0 MACs",
        f"3: conv, {6 * 6 * 2 * 9 * 6} MACs",
    ],
    "grouped": [
        "input: input, 0 MACs",
        f"conv1.0: conv, {6 * 6 * 8 * 9 * 2} MACs",
        f"conv2.0: conv, {6 * 6 * 8 * 9 * 4} MACs",
    ],
    "shared": [
        "input: input, 0 MACs",
        f"conv: conv, {6 * 6 * 3 * 9 * 3} MACs",
        "bn1: norm, 0 MACs",
        f"conv_2: conv, {6 * 6 * 3 * 9 * 3} MACs",
        "bn2: norm, 0 MACs",
    ],
    "scaled": [
        "input: input, 0 MACs",
        f"conv: conv, {4 * 4 * 3 * 9 * 3} MACs",
        "add: add, 0 MACs",
        "cat: concat, 0 MACs",
        "bn: norm, 0 MACs",
    ],
    "functional": [  # weights of the network itself: named after what is done
        "input: input, 0 MACs",
        f"conv2d: conv, {6 * 6 * 3 * 9 * 3} MACs",
        "add: add, 0 MACs",
        f"conv2d_2: conv, {6 * 6 * 3 * 9 * 3} MACs",
    ],
    "bare": ["input: input, 0 MACs", "linear: linear, 20 MACs"],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_layers_have_the_names_kinds_and_macs_found_by_hand(name: str) -> None:
    assert rows(FOLD(graph_of(name))) == BY_HAND[name]


@pytest.mark.parametrize("name", DISTINCT)
def test_every_layer_has_a_name_of_its_own(name: str) -> None:
    names = [layer.name for layer in graph_of(name).layers]
    assert all(names)
    assert len(set(names)) == len(names)
    assert names[0] == "input"


def test_a_layer_knows_its_shapes_weights_and_parameters() -> None:
    layer = FOLD(graph_of("kitchen"))["conv1"]
    assert (layer.shape, layer.input_shapes) == ((1, 8, 8, 8), ((1, 3, 8, 8),))
    assert (layer.weight, layer.weight_shape) == ("conv1.weight", (8, 3, 3, 3))
    assert layer.bias == "conv1.bias"  # of the folded batch norm
    assert layer.parameters == 8 * 3 * 9 + 8
    assert graph_of("kitchen")["conv1"].bias is None
    assert graph_of("kitchen")["conv1"].parameters == 8 * 3 * 9


def test_output_channels_lie_on_axis_one_for_transposed_convolutions_alone() -> None:
    for name in ("transposed", "transposed-grouped"):
        axes = [layer.channel_axis for layer in graph_of(name).layers if layer.weight]
        assert axes == [1, 0]


@pytest.mark.parametrize(
    ("name", "layer", "function"),
    [
        ("kitchen", "conv1", "relu"),
        ("kitchen", "add", "relu"),
        ("plain", "0", "hardtanh"),
        ("grouped", "conv1.0", "leaky_relu"),
        ("scaled", "conv", "clamp"),  # over the scaling
        ("scaled", "bn", "clamp"),  # over the PReLU
        ("pre-activation", "bn1", "relu"),
    ],
)
def test_piece_wise_linear_functions_and_scalings_are_part_of_the_layer_before(
    name: str, layer: str, function: str
) -> None:
    graph = FOLD(graph_of(name))
    assert f".{function}" in str(graph.node_named(graph[layer].output).target)


def test_a_value_with_two_readers_is_not_fused_with_one_of_them() -> None:
    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.conv(x)
        return F.relu6(x) + x

    graph = capture_graph(Wired(wire, conv=nn.Conv2d(1, 1, 1)).eval(), (1, 4, 4))
    assert rows(graph)[1:] == ["conv: conv, 16 MACs", "relu6: activation, 0 MACs",
                               "add: add, 0 MACs"]  # fmt: skip
    assert graph["conv"].output == graph["conv"].node


def test_a_scaling_is_fused_if_it_keeps_the_sign() -> None:
    def names(factor: float) -> list[str]:
        model = Wired(lambda m, x: (m.linear(x) * factor).relu(), linear=nn.Linear(3, 3))
        return [layer.name for layer in capture_graph(model, (3,)).layers]

    assert names(0.5) == ["input", "linear"]
    assert names(-0.5) == ["input", "linear", "mul"]


def test_the_mean_over_an_image_is_an_average_pool_and_over_tokens_is_not() -> None:
    def kind(shape: tuple[int, ...], axes: tuple[int, ...]) -> str:
        return capture_graph(Wired(lambda _, x: x.mean(axes)), shape).layers[1].kind

    assert kind((3, 4, 5), (2, 3)) == kind((3, 4, 5), (-1, -2)) == "average-pool"
    assert kind((3, 4, 5), (3,)) == kind((4, 5), (1,)) == kind((3, 4, 5, 6), (2, 3)) == "other"


def test_tokens_that_are_merged_with_the_batch_still_count() -> None:
    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.attention(x, x, x, need_weights=False)[0]
            return out

    graph = capture_graph(SelfAttention().eval(), (4, 8))
    assert rows(graph) == [
        "input: input, 0 MACs",
        f"attention: linear, {4 * 8 * 24} MACs",
        f"attention_2: attention, {2 * (4 * 4 * 4 + 4 * 4 * 4)} MACs",
        f"attention.out_proj: linear, {4 * 8 * 8} MACs",
    ]
    assert graph["attention.out_proj"].shape == (4, 8)  # rows of one image


def test_whole_numbers_are_no_activations() -> None:
    def wire(m: Wired, x: Tensor) -> Tensor:
        return m.linear(x) * (x.argmax(1, keepdim=True) > 1)

    model = Wired(wire, linear=nn.Linear(4, 3))
    graph = capture_graph(model, (4,))
    assert [layer.name for layer in graph.layers] == ["input", "linear", "mul"]
    assert torch.equal(graph(torch.eye(4)), model(torch.eye(4)))


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("fashion-resnet", 28 * 28 * 16 * 9, 16 * 9),
        ("fashion-mobilenet", 28 * 28 * 16 * 9, 16 * 9),
        ("fashion-vit", 7 * 7 * 96 * 16, 96 * 16 + 96),
        ("efficientnet-lite0", 32 * 32 * 32 * 27, 32 * 27),
    ],
)
def test_first_layers_of_the_samples_by_hand_and_sums_by_hooks(
    name: str, macs: int, parameters: int
) -> None:
    case, graph = CASES[name], graph_of(name)
    first = next(layer for layer in graph.layers if layer.weight)
    assert (first.macs, first.parameters) == (macs, parameters)
    counted = 0

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        assert isinstance(module.weight, Tensor)
        counted += output.numel() * module.weight[0].numel()

    model = case.model()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model(case.inputs(1))
    assert sum(layer.macs for layer in graph.layers if layer.weight) == counted
    assert graph.parameter_count() == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("operation", "shape"),
    [
        (nn.Conv1d(4, 6, 3, bias=False), (4, 9)),
        (nn.Conv2d(4, 6, 3, bias=False), (4, 9, 9)),
        (nn.Conv3d(4, 6, 3, bias=False), (4, 5, 5, 5)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), (4, 5, 5)),
        (nn.Linear(4, 6, bias=False), (4,)),
        (nn.Linear(4, 6, bias=False), (3, 5, 4)),
    ],
    ids=["conv1d", "conv2d", "conv3d", "transposed", "linear", "linear over an image"],
)
def test_a_bias_that_is_not_there_has_a_zero_for_each_output_channel(
    operation: nn.Module, shape: tuple[int, ...]
) -> None:
    graph = capture_graph(nn.Sequential(operation), shape)
    layer = graph["0"]
    assert torch.equal(graph.bias_of_layer(layer), torch.zeros(6))
    inputs = torch.randn(2, *shape)
    before = graph(inputs)
    graph.store_bias(layer, graph.bias_of_layer(layer) + 1)
    graph.module.recompile()
    assert torch.allclose(graph(inputs), before + 1, atol=1e-5)
