"""However a network is written: weights have encodings, products count, 32 bits are float."""

import warnings
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis.cost.workload import build_workload
from quant.config import uniform_config
from quant.errors import CaptureError
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.node_facts import facts_of_node
from quant.inputs import Input, draw_batch
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from quant.spec import FLOAT_BITS
from tests.networks_kinds import CASES, IMAGE, Written, conv, head, random


@cache
def captured(name: str) -> tuple[nn.Module, FloatGraph, Tensor]:
    """A case as a network, its folded graph, and a batch of inputs."""
    torch.manual_seed(0)
    case = CASES[name]
    model = case.build().eval()
    graph = FoldBatchNorm()(capture_graph(model, (Input("x", case.shape, case.kind),)))
    inputs = draw_batch(graph.inputs, 3)
    assert isinstance(inputs, Tensor)
    return model, graph, inputs


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch has no fast kernel for them
@pytest.mark.parametrize("name", CASES)
def test_weights_and_products_are_as_written(name: str) -> None:
    model, graph, inputs = captured(name)
    layers = [layer for layer in graph.layers if layer.weight]
    assert tuple(layer.weight_shape for layer in layers) == CASES[name].weights
    assert sum(layer.macs for layer in graph.layers) == CASES[name].macs
    expected = model(inputs).detach()
    rough = 1e-2 if "half" in name else 1e-4
    torch.testing.assert_close(graph(inputs), expected, rtol=rough, atol=rough)


@pytest.mark.parametrize("name", CASES)
def test_32_bits_are_the_float_network_and_4_bits_are_not(name: str) -> None:
    _, graph, inputs = captured(name)
    calibration = drain_steps(Calibrate()(graph, [inputs]))
    exact = quantize_graph(graph, uniform_config(FLOAT_BITS, FLOAT_BITS), calibration)
    torch.testing.assert_close(exact(inputs), graph(inputs), rtol=0, atol=0)
    if CASES[name].weights:
        coarse = quantize_graph(graph, uniform_config(4, FLOAT_BITS), calibration)
        assert not torch.equal(coarse(inputs), graph(inputs))


@pytest.mark.parametrize("name", CASES)
def test_the_cost_counts_every_product(name: str) -> None:
    _, graph, _ = captured(name)
    work = build_workload(name, graph, uniform_config(8, 8))
    assert sum(op.macs for op in work.ops) == CASES[name].macs


@pytest.mark.parametrize("kind", ["mean", "maximum"])
def test_a_bag_of_paddings_alone_gives_zeros(kind: str) -> None:
    model, graph, _ = captured(f"{kind} of a bag with a padding")
    bags = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 2], [0, 0, 2, 2], [1, 2, 2, 1]])
    torch.testing.assert_close(graph(bags), model(bags).detach())


def test_random_numbers_are_refused() -> None:
    noisy = Written(lambda m, x: m.net(x + torch.randn_like(x)), net=head(conv()))
    with pytest.raises(CaptureError, match="draws random numbers"):
        capture_graph(noisy.eval(), IMAGE)


def test_dropout_in_eval_mode_is_not_random() -> None:
    assert capture_graph(nn.Sequential(nn.Dropout(), nn.Linear(4, 2)).eval(), (4,)).layers


def test_an_output_without_a_batch_axis_is_left_out_or_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.relu(), x.mean()

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean()

    graph = capture_graph(Pair().eval(), (4,))
    assert len(graph.output_nodes) == 1
    assert "1 of 2 outputs" in graph.notes[0]
    with pytest.raises(CaptureError, match="batch as its first axis"):
        capture_graph(Mean().eval(), (4,))


def test_precision_is_told() -> None:
    assert "float32" in captured("half inside")[1].notes[0]
    assert captured("einsum")[1].notes == ()


def test_shapes_of_a_fixed_batch_are_those_of_one_image() -> None:
    model = head(conv()).eval()
    program = torch.export.export(model, (random(4, *IMAGE),))
    fixed, free = capture_graph(program, IMAGE, 4), capture_graph(model, IMAGE)
    assert fixed.batch == 4
    for one, other in zip(fixed.layers, free.layers, strict=True):
        assert (one.shape, one.macs) == (other.shape, other.macs)


def test_a_decomposed_program_has_the_same_layers() -> None:
    net = nn.Sequential(
        conv(), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.BatchNorm2d(8), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()  # fmt: skip
    program = torch.export.export(
        net, (random(2, *IMAGE),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    plain = FoldBatchNorm()(capture_graph(program, IMAGE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = program.run_decompositions()
    decomposed = FoldBatchNorm()(capture_graph(program, IMAGE))
    for one, other in zip(plain.layers, decomposed.layers, strict=True):
        assert (one.kind, one.weight_shape, one.macs) == (
            other.kind,
            other.weight_shape,
            other.macs,
        )


def decomposed(net: nn.Module, *shape: int) -> torch.export.ExportedProgram:
    program = torch.export.export(
        net.eval(), (random(2, *(shape or IMAGE)),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: torch.export.ExportedProgram = program.run_decompositions()
    return found


def test_decomposed_attention_keeps_its_weights_and_the_zeros_of_rows_that_a_mask_hides() -> None:
    def attend(m: Any, x: Tensor) -> Tensor:
        q, k, v = (one(x).unflatten(-1, (2, 4)).transpose(1, 2) for one in (m.q, m.k, m.v))
        seen = (x[..., 0] > 0)[:, None, None, :]
        met = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        found: Tensor = m.head(met.transpose(1, 2).flatten(2))
        return found

    torch.manual_seed(0)
    net = Written(attend, q=nn.Linear(8, 8), k=nn.Linear(8, 8), v=nn.Linear(8, 8),
                  head=nn.Linear(8, 3))  # fmt: skip
    graph = capture_graph(decomposed(net, 5, 8), (5, 8))
    shapes = [layer.weight_shape for layer in graph.layers if layer.weight]
    assert shapes == [(8, 8), (8, 8), (8, 8), (3, 8)]
    x = random(3, 5, 8)
    x[0, :, 0] = -1  # no place to attend to
    torch.testing.assert_close(graph(x), net(x).detach(), rtol=1e-4, atol=1e-5)
    calibration = drain_steps(Calibrate()(graph, [x]))
    exact = quantize_graph(graph, uniform_config(FLOAT_BITS, FLOAT_BITS), calibration)
    assert torch.equal(exact(x), graph(x))
    assert "other" not in {layer.kind.value for layer in graph.layers}


def test_a_decomposed_bilinear_layer_is_one() -> None:
    model, _, x = captured("bilinear")
    graph = capture_graph(decomposed(model, 7), (7,))
    shapes = [layer.weight_shape for layer in graph.layers if layer.weight]
    assert tuple(shapes) == CASES["bilinear"].weights
    torch.testing.assert_close(graph(x), model(x).detach())


def test_a_decomposed_instance_norm_is_one_and_a_norm_of_the_batch_is_refused() -> None:
    affine = nn.InstanceNorm2d(8, affine=True)
    nn.init.uniform_(affine.weight, 0.5, 2)
    net = nn.Sequential(conv(), affine, nn.InstanceNorm2d(8))
    graph = capture_graph(decomposed(net), IMAGE)
    assert [layer.kind.value for layer in graph.layers] == ["input", "conv", "norm", "norm"]
    x = random(3, *IMAGE)
    torch.testing.assert_close(graph(x), net(x).detach(), rtol=1e-4, atol=1e-4)
    norm = nn.BatchNorm2d(8, track_running_stats=False)
    with pytest.raises(CaptureError, match="must not depend on the other images"):
        capture_graph(decomposed(nn.Sequential(conv(), norm)), IMAGE)


def test_a_mask_of_a_size_of_tokens_is_no_activation() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(9, 4)
            self.none = nn.Parameter(torch.zeros(1, 6))

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.words(tokens)
            hidden = torch.where(tokens == 0, -torch.inf, self.none.expand(len(tokens), 6))
            found: Tensor = (x @ x.transpose(1, 2) + hidden.unsqueeze(1)).softmax(-1) @ x
            return found

    graph = capture_graph(Masked().eval(), (Input("tokens", (6,), "int64", 9),))
    facts = {node.name: facts_of_node(node) for node in graph.module.graph.nodes}
    assert [name for name, fact in facts.items() if fact.masking] == ["add"]
