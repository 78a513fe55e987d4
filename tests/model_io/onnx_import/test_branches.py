"""Branches of an If: they read values around them, at any depth, and have names of their own."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper, numpy_helper

from model_io.onnx_import.load_onnx import load_onnx_network
from quant.graph.capture import capture_graph
from tests.model_io.onnx_files import constant, model, node, saved

YES = np.ones((), bool)


def branch(output: str, *steps: onnx.NodeProto, **held: float) -> onnx.GraphProto:
    tensors = [
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in held.items()
    ]
    free = [helper.make_empty_tensor_value_info(output)]
    return helper.make_graph(list(steps), "g", [], free, tensors)


def decide(name: str, condition: str, output: str, then: onnx.GraphProto) -> onnx.NodeProto:
    other = branch("other", node("Neg", ["h"], "other"))
    return node("If", [condition], output, name, then_branch=then, else_branch=other)


def runs_as_in_onnx_runtime(folder: Path, nodes: list[onnx.NodeProto]) -> list[str]:
    path = saved(folder / "net.onnx", model(nodes, ["n", 1, 3]))
    got = load_onnx_network(path)
    x = torch.randn(4, 1, 3)
    theirs = ort.InferenceSession(path).run(None, {"x": x.numpy()})[0]
    graph = capture_graph(got.module, got.input_shape)
    torch.testing.assert_close(graph(x), torch.from_numpy(theirs))
    return [layer.name for layer in graph.layers]


def test_an_if_inside_an_if_reads_the_main_graph(tmp_path: Path) -> None:
    inner = decide("inside", "yes", "b", branch("a", node("Mul", ["h", "k"], "a", "deep"), k=-3.0))
    nodes = [
        constant("yes", YES), node("Sin", ["x"], "h", "sine"),
        decide("outside", "yes", "y", branch("b", inner)),
    ]  # fmt: skip
    assert runs_as_in_onnx_runtime(tmp_path, nodes) == ["input", "sine", "deep"]


def test_an_inner_if_that_the_shape_decides_reads_what_the_outer_branch_computes(
    tmp_path: Path,
) -> None:
    inner = decide("inside", "one", "b", branch("a", node("Mul", ["m", "h"], "a", "deep")))
    outer = branch("b", node("Exp", ["h"], "m", "middle"), inner)
    nodes = [
        constant("yes", YES), constant("at", np.array(1)), constant("1", np.array(1)),
        node("Sin", ["x"], "h", "sine"), node("Shape", ["h"], "s"),
        node("Gather", ["s", "at"], "n", axis=0), node("Equal", ["n", "1"], "one"),
        decide("outside", "yes", "y", outer),
    ]  # fmt: skip
    assert runs_as_in_onnx_runtime(tmp_path, nodes) == ["input", "sine", "middle", "deep"]


def test_two_branches_call_different_values_alike(tmp_path: Path) -> None:
    nodes = [
        constant("yes", YES), node("Sin", ["x"], "h", "sine"),
        decide("one", "yes", "p", branch("b", node("Mul", ["h", "k"], "t", "first"),
                                         node("Exp", ["t"], "b", "exp"), k=-2.0)),
        decide("two", "yes", "q", branch("b", node("Mul", ["p", "k"], "t", "second"),
                                         node("Tanh", ["t"], "b", "tanh"), k=-0.5)),
        node("Add", ["p", "q"], "y", "sum"),
    ]  # fmt: skip
    names = ["input", "sine", "first", "exp", "second", "tanh", "sum"]
    assert runs_as_in_onnx_runtime(tmp_path, nodes) == names


@pytest.mark.parametrize("steps", [
    [node("Identity", ["h"], "c", "copy")],
    [node("Transpose", ["h"], "t", "one", perm=[0, 2, 1]),
     node("Transpose", ["t"], "c", "two", perm=[0, 2, 1])],
])  # fmt: skip
def test_a_branch_reads_a_value_that_is_taken_away(
    tmp_path: Path, steps: list[onnx.NodeProto]
) -> None:
    nodes = [
        node("Sin", ["x"], "h", "sine"), *steps, constant("at", np.array(1)),
        constant("1", np.array(1)), node("Shape", ["h"], "s"),
        node("Gather", ["s", "at"], "n", axis=0), node("Equal", ["n", "1"], "yes"),
        decide("if", "yes", "y", branch("b", node("Exp", ["c"], "b", "exp"))),
    ]  # fmt: skip
    assert "exp" in runs_as_in_onnx_runtime(tmp_path, nodes)
