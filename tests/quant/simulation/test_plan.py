"""Where quantizers go: the rules of the white paper's section 2.3, as goldens written by hand."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quant.config import ACTIVATION_DEFAULT, WEIGHT_DEFAULT, QuantConfig, Rule
from quant.errors import ConfigError
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.node_facts import facts_of_node
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.simulation.plan import Side, Site, plan_sites
from quant.simulation.quant_graph import QuantGraph
from quant.spec import SpecChange
from tests.networks import DISTINCT, Wired, graph_of

FOLD = FoldBatchNorm()
PLAIN = QuantConfig()


def printed(sites: tuple[Site, ...]) -> list[str]:
    """Return one line a site: its name, the node it stands at, and whose grid it takes over."""
    return [
        f"{site.name} @ {site.node}" + (f" = {site.shared_with}" if site.shared_with else "")
        for site in sites
    ]


def plan_of(wire: object, shape: tuple[int, ...], **parts: nn.Module) -> list[str]:
    model = Wired(wire, **parts).eval()  # type: ignore[arg-type]
    return printed(plan_sites(FOLD(capture_graph(model, shape)), PLAIN))


def test_the_golden_plan_of_the_kitchen_sink() -> None:
    assert printed(plan_sites(FOLD(graph_of("kitchen")), PLAIN)) == [
        "input @ x",
        "conv1 weight @ conv2d",
        "conv1 @ relu",  # batch norm folded, ReLU fused
        "conv2 weight @ conv2d_1",
        "conv2 @ conv2d_1",  # an operand of the sum is stored, so it has a grid
        "add @ relu_1",  # the sum is put on a grid of its own after its ReLU
        # the max-pool has none
        "left weight @ conv2d_2",
        "left @ conv2d_2",
        "right.0 weight @ conv2d_3",
        "right.0 @ relu_2",
        "cat @ cat",  # the branches do not share a grid: requantized
        "average_pool @ avg_pool2d = cat",  # quantized again, on the grid of its input
        # flatten has none
        "linear weight @ linear",
        "linear @ linear",
    ]


def test_the_golden_plan_of_functions_that_hardware_does_not_fuse() -> None:
    assert printed(plan_sites(FOLD(graph_of("gated")), PLAIN)) == [
        "input @ x",
        "conv1.0 weight @ conv2d",
        "conv1.0 @ conv2d",  # before SiLU
        "silu @ silu",  # and after
        "adaptive_avg_pool2d @ adaptive_avg_pool2d = silu",
        "squeeze weight @ conv2d_1",
        "squeeze @ conv2d_1",
        "sigmoid @ sigmoid",
        "mul @ mul",
        "conv2 weight @ conv2d_2",
        "conv2 @ conv2d_2",
        "hardswish @ hardswish",
        "linear weight @ linear",
        "linear @ linear",
    ]


def test_the_golden_plan_of_attention() -> None:
    assert printed(plan_sites(FOLD(graph_of("attention")), PLAIN)) == [
        "input @ x",
        "norm @ layer_norm",
        "q weight @ linear",
        "q @ linear",
        "k weight @ linear_1",
        "k @ linear_1",
        "v weight @ linear_2",
        "v @ linear_2",
        "scaled_dot_product_attention @ scaled_dot_product_attention",
        "out weight @ linear_3",
        "out @ linear_3",
        "add @ add",
        "gelu @ gelu",
        "mean @ mean",
        "head weight @ linear_4",
        "head @ linear_4",
    ]


def test_a_convolution_called_twice_has_sites_for_each_call() -> None:
    assert printed(plan_sites(FOLD(graph_of("shared")), PLAIN)) == [
        "input @ x",
        "conv weight @ conv2d",
        "conv @ conv2d",
        "bn1 @ relu",
        "conv_2 weight @ conv2d_1",
        "conv_2 @ conv2d_1",
        "bn2 @ relu_1",
    ]


def test_values_that_only_move_keep_their_grid() -> None:
    def wire(m: Wired, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.pad(x, (1, 1)), 2).transpose(2, 3).flatten(1)
        x = torch.cat(x.chunk(2, 1)[::-1], 1).reshape(-1, 2, 8)[:, 0]
        return F.dropout(m.linear(x), training=False).unsqueeze(1).squeeze(1)

    assert plan_of(wire, (1, 8, 6), linear=nn.Linear(8, 2)) == [
        "input @ x", "cat @ cat", "linear weight @ linear", "linear @ linear",
    ]  # fmt: skip


def test_a_relu_that_cannot_be_fused_stays_on_the_grid_of_its_input() -> None:
    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.conv(x)
        return F.avg_pool2d(F.relu(x), 2) + F.max_pool2d(x, 2)

    assert plan_of(wire, (1, 4, 4), conv=nn.Conv2d(1, 1, 1)) == [
        "input @ x", "conv weight @ conv2d", "conv @ conv2d", "avg_pool2d @ avg_pool2d = conv",
        "add @ add",
    ]  # fmt: skip


def test_chained_average_pools_share_the_first_grid_and_its_spec() -> None:
    graph = capture_graph(Wired(lambda _, x: F.avg_pool2d(F.avg_pool2d(x, 2), 2)), (1, 8, 8))
    rules = (Rule("*", activation=SpecChange(bits=3)), Rule("input", activation=SpecChange(bits=5)))
    sites = plan_sites(graph, QuantConfig(rules=rules))
    assert [site.shared_with for site in sites] == [None, "input", "avg_pool2d"]
    assert [site.spec.bits for site in sites] == [5, 5, 5]


@pytest.mark.parametrize("name", DISTINCT)
def test_weights_and_outputs_of_every_layer_have_sites_and_biases_none(name: str) -> None:
    graph = FOLD(graph_of(name))
    sites = plan_sites(graph, PLAIN)
    weights = [site.layer for site in sites if site.side is Side.WEIGHTS]
    outputs = [site.layer for site in sites if site.side is Side.ACTIVATIONS]
    assert weights == [layer.name for layer in graph.layers if layer.weight]
    assert outputs == [layer.name for layer in graph.layers]
    assert outputs[0] == "input"
    assert len({site.name for site in sites}) == len(sites)
    assert [site.spec for site in sites if site.side is Side.WEIGHTS] == [WEIGHT_DEFAULT] * len(
        weights
    )


def test_specs_follow_the_rules() -> None:
    rules = (
        Rule("conv*", weight=SpecChange(bits=4), activation=SpecChange(bits=6)),
        Rule("cat", activation=SpecChange(bits=7)),
        Rule("average_pool", activation=SpecChange(bits=2)),  # which has no grid of its own
    )
    specs = {
        site.name: site.spec
        for site in plan_sites(FOLD(graph_of("kitchen")), QuantConfig(rules=rules))
    }
    assert specs["conv1 weight"] == replace(WEIGHT_DEFAULT, bits=4)
    assert specs["conv1"] == replace(ACTIVATION_DEFAULT, bits=6)
    assert specs["left"] == ACTIVATION_DEFAULT
    assert specs["average_pool"] == specs["cat"] == replace(ACTIVATION_DEFAULT, bits=7)


def test_a_plan_with_a_rule_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="'conv9' matches none of 9"):
        plan_sites(FOLD(graph_of("kitchen")), QuantConfig(rules=(Rule("conv9"),)))


def quantizer_calls(graph: FloatGraph) -> list[str]:
    """Return, in order of execution, every operation and every quantizer of a quantized graph."""
    result = QuantGraph(graph, plan_sites(graph, PLAIN))
    return [
        facts_of_node(node).site if node.op == "call_module" else str(node.target).split(".")[1]
        for node in result.module.graph.nodes
        if node.op in ("call_module", "call_function")
    ]


def test_quantizers_are_inserted_where_the_plan_says() -> None:
    assert quantizer_calls(FOLD(graph_of("kitchen"))) == [
        "input",
        "conv1 weight", "conv2d", "conv1",  # the quantizer applies the ReLU
        "conv2 weight", "conv2d", "conv2",
        "add", "add",
        "max_pool2d",
        "left weight", "conv2d", "left",
        "right.0 weight", "conv2d", "right.0",
        "cat", "cat",
        "avg_pool2d", "average_pool",
        "flatten",
        "linear weight", "linear", "linear",
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "quantized"), [(0.0, False), (1.5, True)])
def test_padding_with_another_number_than_zero_gets_a_grid_of_its_own(
    value: float, quantized: bool
) -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return F.pad(torch.as_tensor(self.conv(x)), (1, 1), value=value)

    sites = plan_sites(capture_graph(Padded(), (1, 6, 6)), PLAIN)
    assert any(site.layer.startswith("pad") for site in sites) == quantized
