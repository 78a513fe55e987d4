"""Files with Q/DQ pairs of networks of other tasks, and of repaired ones."""

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from model_io.qdq_export.export_qdq import export_qdq_onnx
from model_io.runtime.executed_model import open_exported_model
from model_io.runtime.onnx_runtime import RuntimeSession
from quant.config import uniform_config
from quant.inputs import tensors_of_batch
from quant.passes.adaround import AdaRound
from quant.passes.calibrate import Calibrate
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.passes.methods import Method
from quant.progress import drain_steps
from quant.simulation.quant_graph import quantize_graph
from tests.model_io.qdq_cases import inputs_of
from tests.networks import graph_of
from tests.task_networks import TASKS, task_graph


@pytest.mark.parametrize("name", TASKS)
def test_several_inputs_and_outputs_and_tokens_leave_with_their_names(name: str) -> None:
    task, graph = TASKS[name], FoldBatchNorm()(task_graph(name))
    calibration = drain_steps(Calibrate(16)(graph, [task.draw(16)]))
    quantized = quantize_graph(graph, uniform_config(8, 8), calibration)
    made = export_qdq_onnx(quantized)
    titles = [one.name for one in graph.inputs] if len(graph.inputs) > 1 else ["input"]
    assert [value.name for value in made.model.graph.input] == titles
    executed, x = open_exported_model(made), task.draw(5)
    with torch.inference_mode():
        wanted, real = tensors_of_batch(quantized.run(x)), tensors_of_batch(graph.run(x))
    for session, expected, most in (
        (executed.floats, real, 1e-5),
        (executed.plain, wanted, 0.02),
        (executed.integers, wanted, 0.02),
    ):
        got = tensors_of_batch(session.run(x))
        assert len(got) == len(expected)
        for ours, theirs in zip(got, expected, strict=True):
            assert ours.shape == theirs.shape
            assert float((ours - theirs).abs().max() / theirs.abs().max()) <= most
    assert set(executed.layer_values(x)) == {layer.name for layer in graph.layers}


def test_what_was_equalized_corrected_and_rounded_leaves_as_it_is() -> None:
    graph = Equalize()(FoldBatchNorm()(graph_of("plain"))).graph
    inputs = inputs_of("plain")
    quantized = quantize_graph(
        graph, uniform_config(4, 8), drain_steps(Calibrate(16)(graph, [inputs]))
    )
    plain = quantize_graph(graph, uniform_config(4, 8), drain_steps(Calibrate(16)(graph, [inputs])))
    drain_steps(CorrectBias(Method.EMPIRICAL)(graph, quantized, [inputs]))
    drain_steps(AdaRound(iterations=60, rows=256)(graph, quantized, [inputs]))
    made = export_qdq_onnx(quantized)
    held = {t.name: numpy_helper.to_array(t) for t in made.model.graph.initializer}
    flipped = 0
    for layer in graph.layers:
        if layer.weight is None:
            continue
        encoding = quantized.quantizers[f"{layer.name} weight"].encoding
        before = plain.quantizers[f"{layer.name} weight"].encoding
        assert encoding is not None
        assert before is not None
        codes = held[f"{made.marked.tensors[f'{layer.name} weight'].name}_quantized"].astype(int)
        wanted = encoding.quantize(quantized.graph.stored_tensor(layer.weight).detach())
        assert np.array_equal(codes, wanted.numpy())
        flipped += int(
            (before.quantize(graph.stored_tensor(layer.weight).detach()) != wanted).sum()
        )
    assert flipped > 0
    with torch.inference_mode():
        got, simulated = RuntimeSession(made.model, optimize=False)(inputs), quantized(inputs)
    assert float((got - simulated).abs().max() / simulated.abs().max()) <= 0.02
