from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from accelerator.workload import Op, OpKind, Workload
from analysis.cost.workload import build_workload, weight_entropies
from quant.config import QuantConfig, Rule, uniform_config
from quant.errors import ConfigError
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.spec import SpecChange
from tests.networks import DISTINCT, SMALL, Wired, graph_of


def small_net() -> FloatGraph:
    """Strided convolution, ReLU, max-pool, depthwise, flatten, linear; 3 x 8 x 8 images."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=8, bias=False),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    return capture_graph(model.eval(), (3, 8, 8))


def op_of(workload: Workload, name: str) -> Op:
    return next(op for op in workload.ops if op.name == name)


def bits_of(workload: Workload) -> dict[str, int]:
    return {tensor.name: tensor.bits for tensor in workload.tensors}


def weights(select: str, bits: int) -> Rule:
    return Rule(select, weight=SpecChange(bits=bits))


def activations(select: str, bits: int) -> Rule:
    return Rule(select, activation=SpecChange(bits=bits))


def test_a_hand_built_net_op_by_op() -> None:
    found = build_workload("small", small_net(), QuantConfig())
    assert found.name == "small"
    assert [op.kind for op in found.ops] == [
        OpKind.CONV, OpKind.POOL, OpKind.DEPTHWISE, OpKind.LINEAR,
    ]  # fmt: skip
    pool = found.ops[1].name
    assert found.ops[0] == Op(
        name="0", kind=OpKind.CONV, inputs=("input",), output="0",
        c_in=3, c_out=8, in_h=8, in_w=8, out_h=4, out_w=4, kernel_h=3, kernel_w=3,
        stride_h=2, stride_w=2, weight_elements=216, bias_elements=8,
    )  # fmt: skip
    assert found.ops[1] == Op(
        name=pool, kind=OpKind.POOL, inputs=("0",), output=pool,
        c_in=8, c_out=8, in_h=4, in_w=4, out_h=2, out_w=2, kernel_h=2, kernel_w=2,
    )  # fmt: skip
    assert found.ops[2] == Op(
        name="3", kind=OpKind.DEPTHWISE, inputs=(pool,), output="3",
        c_in=8, c_out=8, in_h=2, in_w=2, out_h=2, out_w=2, kernel_h=3, kernel_w=1,
        groups=8, weight_elements=24,
    )  # fmt: skip
    assert found.ops[3] == Op(
        name="5", kind=OpKind.LINEAR, inputs=("3",), output="5",
        c_in=32, c_out=5, weight_elements=160, bias_elements=5,
    )  # fmt: skip


def test_stored_tensors_of_the_hand_built_net() -> None:
    found = build_workload("small", small_net(), QuantConfig())
    pool = found.ops[1].name
    sizes = {tensor.name: tensor.elements for tensor in found.tensors}
    assert sizes == {"input": 192, "0": 128, pool: 32, "3": 32, "5": 5}
    assert (found.inputs, found.outputs) == (("input",), ("5",))


def test_macs_of_the_hand_built_net() -> None:
    macs = [op.macs for op in build_workload("small", small_net(), QuantConfig()).ops]
    assert macs == [16 * 8 * 27, 0, 4 * 8 * 3, 160]


def test_rules_reach_each_op() -> None:
    config = QuantConfig(
        rules=(
            weights("*", 6), weights("first", 4), weights("kind:linear", 2),
            activations("0", 5), activations("input", 7), activations("5", 32),
        )
    )  # fmt: skip
    found = build_workload("small", small_net(), config)
    widths = [(op.weight_bits, op.activation_bits, op.output_bits) for op in found.ops]
    # a max-pool stays on the grid of what it reads, and has no weights
    assert [widths[0], widths[1][1:], *widths[2:]] == [(4, 7, 5), (5, 5), (6, 5, 8), (2, 8, 32)]
    assert bits_of(found) == {"input": 7, "0": 5, found.ops[1].name: 5, "3": 8, "5": 32}


def test_a_rule_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="must match a layer"):
        build_workload("small", small_net(), QuantConfig(rules=(weights("nowhere", 4),)))


def test_float_is_thirty_two_bits_everywhere() -> None:
    found = build_workload("small", small_net(), uniform_config(32, 32))
    assert set(bits_of(found).values()) == {32}
    assert all(op.is_float for op in found.ops)


def test_an_average_pool_takes_the_grid_of_its_input() -> None:
    graph = FoldBatchNorm()(graph_of("plain"))
    pool = next(layer.name for layer in graph.layers if layer.kind == "average-pool")
    source = graph.layers[[layer.name for layer in graph.layers].index(pool) - 1].name
    config = QuantConfig(rules=(activations(pool, 3), activations(source, 5)))
    found = build_workload("plain", graph, config)
    assert bits_of(found)[pool] == 5
    assert op_of(found, pool).kind is OpKind.POOL
    assert (op_of(found, pool).kernel_h, op_of(found, pool).kernel_w) == (8, 8)


def test_residual_and_concat_read_both_tensors() -> None:
    graph = FoldBatchNorm()(graph_of("kitchen"))
    found = build_workload("kitchen", graph, QuantConfig())
    joined = [op for op in found.ops if op.kind is OpKind.ELTWISE]
    assert len(joined) == 2
    add, concat = joined
    assert add.inputs == ("conv2", "conv1")
    assert (concat.inputs, concat.c_out) == (("left", "right.0"), 8)
    pool = next(op for op in found.ops if op.kind is OpKind.POOL)
    assert (pool.inputs, pool.kernel_h, pool.kernel_w) == ((add.name,), 2, 2)
    assert op_of(found, "left").inputs == op_of(found, "right.0").inputs == (pool.name,)
    assert not any(op.multiply for op in found.ops)


def test_products_are_marked() -> None:
    found = build_workload("gated", FoldBatchNorm()(graph_of("gated")), QuantConfig())
    assert any(op.kind is OpKind.ELTWISE and op.multiply for op in found.ops)


def test_attention_is_scores_softmax_mix() -> None:
    # 2 heads, 8 tokens, head width 6
    graph = graph_of("attention")
    layer = next(layer for layer in graph.layers if layer.kind == "attention")
    q, k, v = ("q", "k", "v")
    config = QuantConfig(
        rules=(
            activations(q, 4), activations(k, 5), activations(v, 6), activations(layer.name, 7),
        )
    )  # fmt: skip
    found = build_workload("attention", graph, config)
    at = [op.name for op in found.ops].index(f"{layer.name} scores")
    scores, softmax, mix = found.ops[at : at + 3]
    assert (scores.kind, softmax.kind, mix.kind) == (OpKind.MATMUL, OpKind.VECTOR, OpKind.MATMUL)
    assert scores.inputs == (q, k)
    assert (scores.batch, scores.c_in, scores.c_out, scores.groups) == (8, 6, 8, 2)
    assert (scores.activation_bits, scores.weight_bits, scores.output_bits) == (4, 5, 7)
    assert softmax.inputs == (scores.output,)
    assert (mix.inputs, mix.output) == ((softmax.output, v), layer.name)
    assert (mix.batch, mix.c_in, mix.c_out, mix.groups) == (8, 8, 6, 2)
    assert (mix.activation_bits, mix.weight_bits) == (7, 6)
    assert scores.macs + mix.macs == layer.macs == 2 * 8 * 8 * 12
    sizes = {tensor.name: tensor.elements for tensor in found.tensors}
    assert sizes[scores.output] == sizes[softmax.output] == 2 * 8 * 8


def test_a_matmul_of_activations_has_their_widths() -> None:
    model = Wired(
        lambda m, x: torch.matmul(m.left(x), m.right(x).transpose(1, 2)),
        left=nn.Linear(4, 6), right=nn.Linear(4, 6),
    )  # fmt: skip
    graph = capture_graph(model.eval(), (5, 4))
    name = graph.layers[-1].name
    config = QuantConfig(rules=(activations("left", 4), activations("right", 6)))
    op = op_of(build_workload("m", graph, config), name)
    assert (op.kind, op.inputs) == (OpKind.MATMUL, ("left", "right"))
    assert (op.activation_bits, op.weight_bits) == (4, 6)
    assert (op.batch, op.c_in, op.c_out, op.macs) == (5, 6, 5, 150)


def test_a_product_with_a_stored_matrix_costs_what_a_linear_layer_does() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(4, 7))

        def forward(self, x: Tensor) -> Tensor:
            return torch.matmul(x, self.table)

    op = build_workload("c", capture_graph(Constant().eval(), (5, 4)), QuantConfig()).ops[-1]
    assert (op.kind, op.batch, op.c_in, op.c_out) == (OpKind.LINEAR, 5, 4, 7)
    assert op.macs == 5 * 4 * 7


def test_attention_over_one_tensor_reads_it_thrice() -> None:
    graph = graph_of("self-attention")
    found = build_workload("self", graph, QuantConfig())
    scores, _, mix, _ = found.ops
    assert scores.inputs == ("input", "input")
    assert mix.inputs[1] == "input"
    assert scores.macs + mix.macs == 2 * 5 * 5 * 8


def test_attention_with_a_learned_query_and_one_key_and_value() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Parameter(torch.randn(1, 3, 4))

        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(self.query, x, x)

    found = build_workload("p", capture_graph(Pooled().eval(), (6, 4)), QuantConfig())
    assert [(op.batch, op.c_in, op.c_out) for op in found.ops if op.kind is OpKind.MATMUL] == [
        (3, 4, 6), (3, 6, 4),
    ]  # fmt: skip


def test_a_transposed_convolution_is_a_linear_product() -> None:
    graph = capture_graph(nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2)).eval(), (4, 5, 5))
    op = build_workload("t", graph, QuantConfig()).ops[0]
    assert (op.kind, op.batch, op.c_in, op.c_out) == (OpKind.LINEAR, 25, 4, 54)
    assert (op.weight_elements, op.bias_elements) == (216, 6)
    assert op.macs == 25 * 4 * 54 == graph.layers[-1].macs


def test_a_signal_is_an_image_of_height_one() -> None:
    model = nn.Sequential(nn.Conv1d(2, 6, 5, stride=2, padding=4, dilation=2), nn.MaxPool1d(2))
    graph = capture_graph(model.eval(), (2, 32))
    conv, pool = build_workload("s", graph, QuantConfig()).ops
    assert (conv.in_h, conv.in_w, conv.out_h, conv.out_w) == (1, 32, 1, 16)
    assert (conv.kernel_h, conv.kernel_w, conv.stride_w, conv.dilation_w) == (1, 5, 2, 2)
    assert (pool.out_h, pool.out_w, pool.kernel_w) == (1, 8, 2)


def test_a_volume_keeps_its_macs() -> None:
    graph = capture_graph(nn.Sequential(nn.Conv3d(2, 4, 3, padding=1)).eval(), (2, 6, 6, 6))
    op = build_workload("v", graph, QuantConfig()).ops[0]
    assert op.macs == graph.layers[-1].macs == 216 * 4 * 2 * 27


@pytest.mark.parametrize("name", DISTINCT)
def test_macs_equal_the_graphs(name: str) -> None:
    graph = FoldBatchNorm()(graph_of(name))
    found = build_workload(name, graph, uniform_config(4, 8))
    assert sum(op.macs for op in found.ops) == sum(layer.macs for layer in graph.layers)


@pytest.mark.parametrize("name", SMALL)
def test_tensors_are_those_of_the_layers(name: str) -> None:
    graph = FoldBatchNorm()(graph_of(name))
    found = build_workload(name, graph, uniform_config(4, 6))
    stored = {tensor.name for tensor in found.tensors}
    assert {layer.name for layer in graph.layers} <= stored
    assert stored == {"input", *(op.output for op in found.ops)}
    assert {op.weight_bits for op in found.ops if op.weight_elements} <= {4}
    assert {tensor.bits for tensor in found.tensors} == {6}


def test_entropies_follow_the_weights() -> None:
    graph = small_net()
    config = uniform_config(4, 8)
    known = weight_entropies(graph, config, {})
    assert {name for name, _ in known} == {"0", "3", "5"}
    assert all(0 < bits <= 4 for bits in known.values())
    found = build_workload("small", graph, config, known)
    assert op_of(found, "0").weight_entropy == known["0", config.default.weight]
    assert found.ops[1].weight_entropy is None


def test_entropies_known_are_not_measured_again() -> None:
    graph = small_net()
    config = uniform_config(4, 8)
    known = {("0", config.default.weight): 1.25}
    assert weight_entropies(graph, config, known) is known
    assert known["0", config.default.weight] == 1.25
    edited = replace(config, rules=(weights("3", 8),))
    before = dict(known)
    weight_entropies(graph, edited, known)
    assert len(known) == len(before) + 1


def test_a_constant_weight_has_low_entropy() -> None:
    graph = small_net()
    graph.store_tensor("5.weight", torch.full((5, 32), 0.5))
    known = weight_entropies(graph, uniform_config(8, 8), {})
    assert {bits for (name, _), bits in known.items() if name == "5"} == {0.0}


def test_a_weight_computed_from_stored_numbers_is_a_weight() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight * 2)

    op = build_workload("c", capture_graph(Computed().eval(), (3,)), QuantConfig()).ops[-1]
    assert (op.kind, op.macs) == (OpKind.LINEAR, 12)
