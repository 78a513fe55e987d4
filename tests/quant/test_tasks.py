"""Several inputs, several outputs and tokens: captured, planned, run, pulled back."""

import pytest
import torch
from torch import Tensor
from torch.export import Dim, export

from quant.config import uniform_config
from quant.engine import fused_layer
from quant.engine.gradients import Backward, Local
from quant.engine.program import compile_program
from quant.errors import CaptureError
from quant.graph.capture import capture_graph
from quant.graph.layers import is_input_name
from quant.graph.node_facts import facts_of_node
from quant.graph.operators import Kind
from quant.graph.walk import Walk
from quant.inputs import (
    Input,
    Inputs,
    Outputs,
    arrange_batch,
    draw_batch,
    first_output_of,
    split_batch,
    tensors_of_batch,
)
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.plan import Side, plan_sites
from quant.simulation.quant_graph import quantize_graph
from tests.task_networks import CLASSES, IMAGE, ROWS, TASKS, task_graph

EVERY = pytest.mark.parametrize("name", TASKS)


@EVERY
def test_it_computes_what_the_network_computes(name: str) -> None:
    task, graph = TASKS[name], FoldBatchNorm()(task_graph(name))
    x = task.draw(5)
    given = task.model()(*tensors_of_batch(x))
    wanted = [
        out for out in (given if isinstance(given, tuple) else (given,)) if out.is_floating_point()
    ]
    got = tensors_of_batch(graph.run(x))
    assert len(got) == len(wanted) == len(graph.output_shapes)
    for ours, theirs, shape in zip(got, wanted, graph.output_shapes, strict=True):
        assert ours.shape[1:] == shape
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(graph(x), wanted[0])
    assert graph.batch is None


def test_inputs_are_told_with_their_kinds_and_limits() -> None:
    assert [one.name for one in task_graph("towers").inputs] == ["image", "figures"]
    assert task_graph("tokens").inputs == (
        Input("ids", (6,), "int64", ROWS), Input("mask", (6,), "int64"),
    )  # fmt: skip
    assert task_graph("detector").output_shapes == ((16, CLASSES), (16, 4))


def test_real_inputs_have_sites_and_whole_numbers_have_none() -> None:
    names = {
        name: [layer.name for layer in task_graph(name).layers if layer.kind is Kind.INPUT]
        for name in TASKS
    }
    assert names == {
        "towers": ["input:image", "input:figures"],
        "segments": ["input"],
        "tokens": [],
        "recurrent": [],
        "detector": ["input"],
    }
    assert all(is_input_name(layer) for found in names.values() for layer in found)


def test_a_mask_before_a_softmax_gets_no_grid() -> None:
    graph = task_graph("tokens")
    sites = {
        site.node
        for site in plan_sites(graph, uniform_config(8, 8))
        if site.side is Side.ACTIVATIONS
    }
    masking = [n.name for n in graph.module.graph.nodes if facts_of_node(n).masking]
    assert len(masking) == 1
    assert not sites & set(masking)
    shut = [n for n in graph.module.graph.nodes if n.name == "mul"]
    assert shut
    assert not sites & {n.name for n in shut if not facts_of_node(n).activation}


def test_an_embedding_is_a_layer_with_a_table_of_rows() -> None:
    layer = task_graph("tokens")["words"]
    assert (layer.kind, layer.weight_shape, layer.macs) == (Kind.EMBEDDING, (ROWS, 8), 0)
    assert layer.parameters == ROWS * 8


@EVERY
def test_fewer_bits_are_further_away(name: str) -> None:
    task, graph = TASKS[name], task_graph(name)
    x = task.draw(16)
    calibration = drain_steps(Calibrate()(graph, [x]))  # nothing lies beyond these ranges
    wanted = tensors_of_batch(graph.run(x))
    noise = {}
    for bits in (4, 8, 12):
        got = tensors_of_batch(
            quantize_graph(graph, uniform_config(bits, bits), calibration).run(x)
        )
        noise[bits] = [float((a - b).square().sum()) for a, b in zip(got, wanted, strict=True)]
    assert all(a > b > c for a, b, c in zip(*noise.values(), strict=True))


@EVERY
def test_a_program_restarts_anywhere_with_the_same_bits(name: str) -> None:
    task, graph = TASKS[name], task_graph(name)
    sites = plan_sites(graph, uniform_config(8, 8))
    calibration = drain_steps(Calibrate()(graph, [task.draw(24, 7)]))
    quantized = quantize_graph(graph, uniform_config(8, 8), calibration)
    program = compile_program(graph, sites, fuse=False)
    encodings = {n: q.encoding for n, q in quantized.quantizers.items() if q.encoding is not None}
    settings, x = program.settle_weights(encodings), task.draw(3)
    with torch.inference_mode():
        whole = tensors_of_batch(quantized.run(x))
        for site in sites:
            values, position = program.start_values(x), program.restart_position([site.name])
            program.run_steps(values, 0, position, settings)
            program.finish_run(values, position, settings)
            for got, wanted in zip(program.result_tensors(values), whole, strict=True):
                assert torch.equal(got, wanted)


def naive_gradients(name: str, x: Inputs, probe: Outputs) -> dict[str, Tensor]:
    """Return the gradient at every layer's output by autograd through the plain graph."""
    graph = task_graph(name).copy_graph()
    for parameter in graph.module.parameters():
        parameter.requires_grad_()
    values: dict[str, Tensor] = {}

    class Watch(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            found = super().run_node(n)
            if isinstance(found, Tensor) and found.requires_grad:
                found.retain_grad()
                values[n.name] = found
            return found

    inputs = [
        p.clone().requires_grad_() if p.is_floating_point() else p for p in tensors_of_batch(x)
    ]
    outputs = tensors_of_batch(Watch(graph.module).run(*inputs))
    total = sum((o * p).sum() for o, p in zip(outputs, tensors_of_batch(probe), strict=True))
    assert isinstance(total, Tensor)
    total.backward()
    found = {n: v.grad for n, v in values.items() if v.grad is not None}
    return {layer.name: found[layer.output] for layer in graph.layers if layer.output in found}


@EVERY
def test_gradients_of_all_outputs_reach_every_layer(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(fused_layer, "gradient_type", lambda: torch.float32)
    task, graph = TASKS[name], task_graph(name)
    x, generator = task.draw(3), torch.Generator().manual_seed(3)
    shapes = [(3, *shape) for shape in graph.output_shapes]
    probes = [tuple(torch.randn(shape, generator=generator) for shape in shapes) for _ in range(2)]
    chosen = [probe[0] if len(probe) == 1 else probe for probe in probes]
    met: dict[str, Local] = {}
    with torch.no_grad():
        Backward(graph)(x, lambda _: chosen, lambda local: met.update({local.layer.name: local}))
    for place, probe in enumerate(chosen):
        wanted = naive_gradients(name, x, probe)
        assert set(wanted) == set(met) == {layer.name for layer in graph.layers}
        for layer, gradient in wanted.items():
            torch.testing.assert_close(met[layer].gradients[place], gradient, rtol=1e-4, atol=1e-5)


def test_a_layer_runs_again_with_another_table() -> None:
    graph = task_graph("tokens")
    table, met = graph.stored_tensor("words.weight"), []

    def visit(local: Local) -> None:
        if local.layer.name == "words" and local.run is not None:
            torch.testing.assert_close(local.run(2 * table), 2 * local.output)
            met.append(local.layer.name)

    Backward(graph)(
        TASKS["tokens"].draw(2), lambda out: [torch.ones_like(first_output_of(out))], visit
    )
    assert met == ["words"]


def test_a_walk_goes_with_several_inputs() -> None:
    graph, batches = task_graph("towers"), [TASKS["towers"].draw(2, seed) for seed in (1, 2)]
    found = Walk(graph.module, batches).output_of_node(graph["head"].node)
    for got, batch in zip(found, batches, strict=True):
        assert torch.equal(got, graph(batch))


def test_a_program_of_torch_export_brings_its_own_names_and_kinds() -> None:
    task = TASKS["tokens"]
    batch = Dim("batch", min=1, max=99)
    program = export(
        task.model(), tensors_of_batch(task.draw(2)), dynamic_shapes=({0: batch}, {0: batch})
    )
    graph = capture_graph(program, ())
    assert [(one.name, one.kind, one.below) for one in graph.inputs] == [
        ("ids", "int64", ROWS), ("mask", "int64", None),
    ]  # fmt: skip
    x = task.draw(4)
    torch.testing.assert_close(graph(x), task.model()(*tensors_of_batch(x)))


class Late(torch.nn.Module):
    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return x * scale


def test_an_input_without_a_batch_is_refused() -> None:
    with pytest.raises(CaptureError, match="must be a tensor with the batch as its first axis"):
        capture_graph(export(Late(), (torch.zeros(2, 3), torch.tensor(2.0))), ())


def test_drawn_numbers_are_valid() -> None:
    ids, mask = tensors_of_batch(draw_batch(task_graph("tokens").inputs, 200))
    assert (int(ids.min()), int(ids.max())) == (0, ROWS - 1)
    assert set(mask.unique().tolist()) == {0, 1}
    assert torch.equal(ids, tensors_of_batch(draw_batch(task_graph("tokens").inputs, 200))[0])


def test_batches_are_arranged_and_cut() -> None:
    image, figures = tensors_of_batch(arrange_batch(TASKS["towers"].draw(3), 4))
    assert image.shape == (4, 3, 8, 8)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(figures[3], figures[0])
    pieces = split_batch(TASKS["towers"].draw(5), 2)
    assert [[len(part) for part in tensors_of_batch(piece)] for piece in pieces] == [
        [2, 2],
        [2, 2],
        [1, 1],
    ]
    assert IMAGE.real
