"""Gradients at every layer against autograd; the layer run again against the graph."""

import gc

import pytest
import torch
from torch import Tensor, fx
from torch.multiprocessing.reductions import StorageWeakRef

from quant.engine import fused_convolution, fused_layer
from quant.engine.gradients import Backward, Local
from quant.graph.float_graph import FloatGraph
from quant.inputs import Outputs, first_output_of
from quant.passes.fold_batch_norm import FoldBatchNorm
from tests.networks import CASES, DISTINCT, SMALL, graph_of

IMAGES = 3


def folded(name: str) -> FloatGraph:
    """Return a folded copy of a network, for one test alone."""
    return FoldBatchNorm()(graph_of(name))


def probes_like(output: Outputs) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(first_output_of(output).shape, generator=generator) for _ in range(2)]


def visited(graph: FloatGraph, inputs: Tensor) -> dict[str, Local]:
    found: dict[str, Local] = {}
    Backward(graph)(inputs, probes_like, lambda local: found.update({local.layer.name: local}))
    return found


class Recorder(fx.Interpreter):
    """Runs a graph and keeps the value of every node."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.found: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.found[n.name] = result
        return result


def multiply_in(monkeypatch: pytest.MonkeyPatch, kind: torch.dtype) -> None:
    if kind is torch.bfloat16 and not torch.cpu.get_capabilities().get("avx512_bw"):
        pytest.skip("this processor has no convolution in bfloat16")
    monkeypatch.setattr(fused_layer, "gradient_type", lambda: kind)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", DISTINCT)
def test_gradients_are_those_of_autograd(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: torch.dtype
) -> None:
    multiply_in(monkeypatch, kind)
    graph = folded(name)
    inputs = CASES[name].inputs(IMAGES).requires_grad_()
    recorder = Recorder(graph.module)
    output = recorder.run(inputs)
    layers = list(graph.layers)
    values = [recorder.found[layer.output] for layer in layers]
    expected = [
        torch.autograd.grad(output, values, p, retain_graph=True) for p in probes_like(output)
    ]
    found = visited(graph, inputs.detach())
    assert set(found) == {layer.name for layer in layers}
    for place, layer in enumerate(layers):
        local = found[layer.name]
        torch.testing.assert_close(local.output, values[place].detach(), atol=1e-4, rtol=1e-4)
        for probe, gradient in enumerate(local.gradients):
            wanted = expected[probe][place]
            scale = float(wanted.abs().max()) or 1.0
            near = 2e-4 if kind is torch.float32 else 0.05
            assert gradient.dtype is torch.float32
            torch.testing.assert_close(gradient / scale, wanted / scale, atol=near, rtol=1e-3)
            if kind is torch.bfloat16:
                apart = float((gradient - wanted).norm() / (wanted.norm() or 1.0))
                assert apart < 0.03, layer.name


@pytest.mark.parametrize("name", SMALL)
def test_a_layer_run_again_with_its_own_weight_gives_what_it_gave(name: str) -> None:
    graph = folded(name)
    backward = Backward(graph)
    again: dict[str, tuple[Tensor, Tensor]] = {}

    def visit(local: Local) -> None:
        if local.run is not None:
            weight = graph.stored_tensor(str(local.layer.weight)).detach()
            again[local.layer.name] = (
                local.run(backward.prepare_weight(local.layer, weight)),
                local.output,
            )

    backward(CASES[name].inputs(IMAGES), probes_like, visit)
    assert set(again) == {layer.name for layer in graph.layers if layer.weight is not None}
    for ran, output in again.values():
        torch.testing.assert_close(ran, output, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("name", sorted({*DISTINCT} - {"shared"}))  # there autograd sums over uses
def test_shifts_of_weights_meet_the_gradient_that_autograd_finds(
    monkeypatch: pytest.MonkeyPatch, name: str, *, short: bool
) -> None:
    multiply_in(monkeypatch, torch.bfloat16 if short else torch.float32)
    monkeypatch.setattr(fused_layer, "PIECE", 4000)  # some images at a time
    graph, inputs = folded(name), CASES[name].inputs(IMAGES)
    probes = probes_like(graph(inputs))
    generator = torch.Generator().manual_seed(7)
    found: dict[str, tuple[Tensor, list[Tensor]]] = {}

    def visit(local: Local) -> None:
        if local.weigh is not None:
            shape = (2, *graph.stored_tensor(str(local.layer.weight)).shape)
            shifts = torch.randn(shape, generator=generator)
            found[local.layer.name] = shifts, local.weigh(shifts)

    Backward(graph)(inputs, lambda _: probes, visit)
    for layer, (shifts, products) in found.items():
        weight = graph.stored_tensor(str(graph[layer].weight)).requires_grad_()
        for image in range(IMAGES):
            output = graph(inputs[image : image + 1])
            for probe, product in zip(probes, products, strict=True):
                (gradient,) = torch.autograd.grad(
                    (output * probe[image]).sum(), weight, retain_graph=True
                )
                expected = (shifts * gradient).flatten(1).sum(1)
                size = float(gradient.norm() * shifts[0].norm()) / shifts[0].numel() ** 0.5
                apart = float((product[:, image] - expected).abs().max()) / (size or 1.0)
                assert apart < (0.05 if short else 1e-3), layer


def test_clips_of_channels_are_part_of_the_kernel() -> None:
    graph = folded("fashion-mobilenet-imbalanced")
    stages = Backward(graph).stages.values()
    assert sum(stage.limits is not None for stage in stages) == 7
    weighted = [layer for layer in graph.layers if layer.weight is not None]
    assert len(stages) >= len(weighted) - 1  # all but the last, which is no convolution


def test_without_the_fused_kernels_the_gradients_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    multiply_in(monkeypatch, torch.float32)
    graph, inputs = folded("kitchen"), CASES["kitchen"].inputs(IMAGES)
    assert Backward(graph).stages
    fused = visited(graph, inputs)
    monkeypatch.setattr(fused_convolution, "are_kernels_available", lambda: False)
    assert not Backward(graph).stages
    plain = visited(graph, inputs)
    for name, local in plain.items():
        for ours, theirs in zip(local.gradients, fused[name].gradients, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["kitchen", "attention"])
def test_values_are_let_go_after_a_batch(name: str) -> None:
    graph, inputs = folded(name), CASES[name].inputs(IMAGES)
    seen: list[StorageWeakRef] = []

    def visit(local: Local) -> None:
        seen.extend(StorageWeakRef(t.untyped_storage()) for t in (local.output, *local.gradients))

    def once() -> None:
        Backward(graph)(inputs.clone(), probes_like, visit)

    once()
    gc.collect()
    assert seen
    assert all(reference.expired() for reference in seen)
