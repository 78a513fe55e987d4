"""A record of an imported network gives the graph that torch.export gives, for any batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.testing import assert_close

from model_io.load import load_model
from quant.graph import capture
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.tracing.export_program import describe_inputs, export_torch_program, trace_program
from quant.graph.tracing.merge_recordings import record_traced_graph
from quant.graph.tracing.record_calls import NotStaticError
from quant.graph.tracing.static_network import StaticNetwork
from quant.inputs import Input, draw_batch, tensors_of_batch
from tests.model_io.onnx_files import model, node, saved, weight


def layered() -> ModelProto:
    """A convolution, a split, a product with the batch in a shape, a norm, two outputs."""
    return model(
        [
            node("Conv", ["x", "w", "b"], "c", "stem", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "g", "b", "m", "v"], "n", "norm"),
            node("Relu", ["n"], "r", "act"),
            node("Split", ["r"], "one two", "halves", axis=1, num_outputs=2),
            node("Concat", ["two", "one"], "turned", "join", axis=1),
            node("Shape", ["x"], "shape", "size", start=0, end=1),
            node("Concat", ["shape", "rest"], "rows", "rows", axis=0),
            node("Reshape", ["turned", "rows"], "flat", "reshape"),
            node("MatMul", ["flat", "p"], "y", "head"),
        ],
        ["n", 3, 4, 4],
        {
            "w": weight(4, 3, 3, 3), "b": weight(4), "g": np.abs(weight(4)) + 0.5, "m": weight(4),
            "v": np.abs(weight(4)) + 0.5, "rest": np.array([-1], np.int64), "p": weight(64, 5),
        },
        opset=18,
    )  # fmt: skip


def facts(graph: FloatGraph) -> list[object]:
    return [
        (layer.name, layer.kind, layer.shape, layer.input_shapes, layer.weight, layer.macs)
        for layer in graph.layers
    ]


def test_a_record_is_the_graph_of_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_model(saved(tmp_path / "net.onnx", layered()))
    found = capture_graph(loaded.module, loaded.expected_inputs)
    program = export_torch_program(loaded.module, loaded.expected_inputs)
    expected = capture_graph(program, loaded.expected_inputs)
    assert facts(found) == facts(expected)
    assert found.batch is None
    for count in (1, 2, 3, 7):
        drawn = draw_batch(found.inputs, count)
        assert torch.equal(found(drawn), expected(drawn))

    def no_export(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(capture, "export_torch_program", no_export)
    assert facts(capture_graph(loaded.module, loaded.expected_inputs)) == facts(expected)


class Written(StaticNetwork):
    """A network of one function."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function, self.linear = function, nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.function(self, x)  # type: ignore[operator]
        return found

    def run_by_operation(self, inputs, leave):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        found = self(*inputs)
        leave("whole")
        return (found,)


def growing(net: Written, x: Tensor) -> Tensor:
    rows: Tensor = net.linear(x).reshape(2 * x.shape[0], 2)
    return rows.reshape(x.shape[0], 4) + torch.zeros(x.shape[0], 1)


@pytest.mark.parametrize("batch", [None, 3])
def test_sizes_that_grow_with_the_batch_are_computed(batch: int | None) -> None:
    network = Written(growing)
    traced = record_traced_graph(network, [Input("x", (4,))], batch)
    graph = capture_graph(network, (4,), batch)
    assert graph.batch == batch
    assert graph["whole"].shape == (1, 4)
    for count in (batch,) if batch else (1, 4, 9):
        drawn = draw_batch(graph.inputs, count)
        assert_close(graph(drawn), network(*tensors_of_batch(drawn)))
    sizes = [node for node in traced.graph.nodes if "sym_size" in str(node.target)]
    assert len(sizes) == (0 if batch else 1)


UNEVEN = {
    "by value": lambda net, x: net.linear(x) if x.sum() > 0 else x,
    "found numbers": lambda net, x: net.linear(x)[x.nonzero()[:, 0]][: x.shape[0]],
    "a square": lambda net, x: net.linear(x) + torch.ones(x.shape[0] ** 2).sum(),
    "every second": lambda net, x: net.linear(x) + torch.ones(x.shape[0] // 2).sum(),
    "other calls": lambda net, x: net.linear(x) if x.shape[0] > 2 else net.linear(x).relu(),
    "mean over the batch as a number": lambda net, x: net.linear(x) * (1 / x.shape[0]),
    "a constant of the batch": lambda net, x: net.linear(x) + torch.tensor([float(x.shape[0])]),
    "random": lambda net, x: net.linear(x) + torch.rand(4),
}  # fmt: skip


@pytest.mark.parametrize("name", UNEVEN)
def test_what_depends_otherwise_on_batch_or_values_is_left_to_the_export(name: str) -> None:
    with pytest.raises((NotStaticError, RuntimeError)):
        record_traced_graph(Written(UNEVEN[name]), [Input("x", (4,))], None)


def test_a_trace_of_torch_export_has_no_detached_copies() -> None:
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach() * 2

    program = export_torch_program(Detached(), describe_inputs((4,)))
    assert not [n for n in trace_program(program).graph.nodes if "detach" in str(n.target)]
