"""Loose nodes of many exporters come in as the one operator that they mean, with its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import NodeProto

from model_io.onnx_import.load_onnx import Imported, load_onnx_network
from quant.graph.capture import capture_graph
from tests.model_io.onnx_files import Array, model, node, saved, weight

NUMBERS: dict[str, Array] = {
    **{name: np.array(value, np.float32) for name, value in {
        "three": 3, "six": 6, "zero": 0, "sixth": 1 / 6, "half": [0.5], "one": 1, "two": 2,
        "root2": 2**0.5, "inverse_root2": 0.5**0.5, "root_2_pi": (2 / np.pi) ** 0.5,
        "cubic": 0.044715, "eps": 1e-5, "zeros": [[0]] * 4, "ones2": [1, 1], "zeros2": [0, 0],
    }.items()},
    "gamma": weight(6), "beta": weight(6),
}  # fmt: skip
ERF = [node("Erf", ["e"], "f"), node("Add", ["f", "one"], "g")]
TANH = [
    node("Mul", ["x3", "cubic"], "c"), node("Add", ["x", "c"], "s"),
    node("Mul", ["s", "root_2_pi"], "r"), node("Tanh", ["r"], "t"), node("Add", ["one", "t"], "g"),
]  # fmt: skip
MEAN = [
    node("ReduceMean", ["x"], "mu", axes=[-1]), node("Sub", ["x", "mu"], "d"),
]  # fmt: skip
DEVIATION = [
    node("ReduceMean", ["q"], "v", axes=[2]), node("Add", ["v", "eps"], "ve"),
    node("Sqrt", ["ve"], "sd"),
]  # fmt: skip
PATTERNS: dict[str, tuple[str, Sequence[NodeProto]]] = {
    "hard swish, product first": ("HardSwish", [
        node("Add", ["x", "three"], "a"), node("Clip", ["a", "zero", "six"], "c"),
        node("Mul", ["x", "c"], "m"), node("Div", ["m", "six"], "y")]),
    "hard swish, division first": ("HardSwish", [
        node("Add", ["three", "x"], "a"), node("Clip", ["a", "zero", "six"], "c"),
        node("Div", ["c", "six"], "m"), node("Mul", ["m", "x"], "y")]),
    "hard swish, by a sixth": ("HardSwish", [
        node("Add", ["x", "three"], "a"), node("Clip", ["a", "zero", "six"], "c"),
        node("Mul", ["c", "sixth"], "m"), node("Mul", ["x", "m"], "y")]),
    "hard swish of ReLU and Min": ("HardSwish", [
        node("Add", ["x", "three"], "a"), node("Relu", ["a"], "r"), node("Min", ["r", "six"], "c"),
        node("Mul", ["x", "c"], "m"), node("Mul", ["m", "sixth"], "y")]),
    "hard swish of a hard sigmoid": ("HardSwish", [
        node("HardSigmoid", ["x"], "h", alpha=1 / 6, beta=0.5), node("Mul", ["x", "h"], "y")]),
    "hard sigmoid": ("HardSigmoid", [
        node("Add", ["x", "three"], "a"), node("Clip", ["a", "zero", "six"], "c"),
        node("Div", ["c", "six"], "y")]),
    "swish": ("Swish", [node("Sigmoid", ["x"], "s"), node("Mul", ["x", "s"], "y")]),
    "swish, the other way round": ("Swish", [
        node("Sigmoid", ["x"], "s"), node("Mul", ["s", "x"], "y")]),
    "mish": ("Mish", [node("Softplus", ["x"], "s"), node("Tanh", ["s"], "t"),
                      node("Mul", ["x", "t"], "y")]),
    "gelu, half last": ("Gelu", [
        node("Div", ["x", "root2"], "e"), *ERF, node("Mul", ["x", "g"], "m"),
        node("Mul", ["m", "half"], "y")]),
    "gelu, half first": ("Gelu", [
        node("Mul", ["x", "inverse_root2"], "e"), *ERF, node("Mul", ["x", "half"], "m"),
        node("Mul", ["m", "g"], "y")]),
    "gelu, half in the middle": ("Gelu", [
        node("Div", ["x", "root2"], "e"), *ERF, node("Mul", ["half", "g"], "m"),
        node("Mul", ["m", "x"], "y")]),
    "gelu, divided by two": ("Gelu", [
        node("Div", ["x", "root2"], "e"), *ERF, node("Mul", ["x", "g"], "m"),
        node("Div", ["m", "two"], "y")]),
    "gelu by tanh, a power": ("Gelu", [
        node("Pow", ["x", "three"], "x3"), *TANH, node("Mul", ["x", "g"], "m"),
        node("Mul", ["m", "half"], "y")]),
    "gelu by tanh, products": ("Gelu", [
        node("Mul", ["x", "x"], "x2"), node("Mul", ["x2", "x"], "x3"), *TANH,
        node("Mul", ["x", "half"], "m"), node("Mul", ["m", "g"], "y")]),
    "layer norm": ("LayerNormalization", [
        *MEAN, node("Pow", ["d", "two"], "q"), *DEVIATION, node("Div", ["d", "sd"], "n"),
        node("Mul", ["n", "gamma"], "s"), node("Add", ["s", "beta"], "y")]),
    "layer norm, subtracted twice": ("LayerNormalization", [
        *MEAN, node("Sub", ["x", "mu"], "d2"), node("Mul", ["d2", "d2"], "q"), *DEVIATION,
        node("Div", ["d", "sd"], "n"), node("Mul", ["gamma", "n"], "s"),
        node("Add", ["beta", "s"], "y")]),
    "layer norm by a reciprocal, no shift": ("LayerNormalization", [
        *MEAN, node("Pow", ["d", "two"], "q"), *DEVIATION, node("Reciprocal", ["sd"], "i"),
        node("Mul", ["d", "i"], "n"), node("Mul", ["n", "gamma"], "y")]),
    "RMS norm": ("RMSNormalization", [
        node("Pow", ["x", "two"], "q"), *DEVIATION, node("Div", ["x", "sd"], "n"),
        node("Mul", ["n", "gamma"], "y")]),
    "ReLU of zeros": ("Relu", [node("Max", ["x", "zeros"], "y")]),
}  # fmt: skip


def imported(
    folder: Path, nodes: Sequence[NodeProto], shape: Sequence[int | str], held: dict[str, Array]
) -> Imported:
    named = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    for step in named:
        step.name = f"node/{step.output[0]}"
    used = {name for n in nodes for name in n.input}
    constants = {name: value for name, value in held.items() if name in used}
    return load_onnx_network(saved(folder / "net.onnx", model(named, shape, constants)))


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_seen_and_shown_as_one(tmp_path: Path, name: str) -> None:
    operator, nodes = PATTERNS[name]
    got = imported(tmp_path, nodes, ["n", 4, 6], NUMBERS)
    (found,) = got.report.recognised
    assert (found.operator, found.node, found.nodes) == (operator, "node/y", len(nodes))
    graph = capture_graph(got.module, got.input_shape)
    # a ReLU behind the input passes on the input's grid
    expected = ["input"] if operator == "Relu" else ["input", "node/y"]
    assert [layer.name for layer in graph.layers] == expected
    assert got.report.difference < 1e-5


@pytest.mark.parametrize(
    "nodes",
    [
        # another variable, another number, an inner value that someone else reads
        [node("Sigmoid", ["x"], "s"), node("Relu", ["x"], "r"), node("Mul", ["r", "s"], "y")],
        [node("Add", ["x", "two"], "a"), node("Clip", ["a", "zero", "six"], "c"),
         node("Mul", ["x", "c"], "m"), node("Div", ["m", "six"], "y")],
        [node("Add", ["x", "three"], "a"), node("Clip", ["a", "zero", "six"], "c"),
         node("Mul", ["x", "c"], "m"), node("Div", ["m", "three"], "y")],
        [node("Sigmoid", ["x"], "s"), node("Mul", ["x", "s"], "m"), node("Add", ["m", "s"], "y")],
        [node("Div", ["x", "two"], "e"), *ERF, node("Mul", ["x", "g"], "m"),
         node("Mul", ["m", "half"], "y")],
        [*MEAN, node("Abs", ["d"], "q"), *DEVIATION, node("Div", ["d", "sd"], "n"),
         node("Mul", ["n", "gamma"], "s"), node("Add", ["s", "beta"], "y")],
    ],
)  # fmt: skip
def test_what_is_no_pattern_stays_as_it_is(tmp_path: Path, nodes: Sequence[NodeProto]) -> None:
    assert imported(tmp_path, nodes, ["n", 4, 6], NUMBERS).report.recognised == ()


def test_group_norm_as_torch_writes_it(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", ["x", "groups"], "g"),
        node("InstanceNormalization", ["g", "ones2", "zeros2"], "i", epsilon=1e-3),
        node("Shape", ["x"], "shape"), node("Reshape", ["i", "shape"], "r"),
        node("Mul", ["r", "scale"], "m"), node("Add", ["m", "shift"], "y"),
    ]  # fmt: skip
    held = {
        **NUMBERS,
        "groups": np.array([0, 2, -1]),
        "scale": weight(4, 1, 1),
        "shift": weight(4, 1, 1),
    }
    got = imported(tmp_path, nodes, ["n", 4, 5, 6], held)
    assert [f.operator for f in got.report.recognised] == ["GroupNormalization"]
    graph = capture_graph(got.module, got.input_shape)
    assert [str(layer.kind) for layer in graph.layers] == ["input", "norm"]


@pytest.mark.parametrize("order", [["p", "b"], ["b", "p"]])
def test_a_product_and_a_sum_are_a_linear_layer(tmp_path: Path, order: list[str]) -> None:
    nodes = [node("MatMul", ["x", "w"], "p"), node("Add", order, "y")]
    held = {"w": weight(6, 3), "b": weight(3)}
    got = imported(tmp_path, nodes, ["n", 4, 6], held)
    layer = capture_graph(got.module, got.input_shape).layers[1]
    assert (layer.name, layer.weight, layer.bias) == (
        "node/p", "node/p.weight", "node/p.bias",
    )  # fmt: skip
    assert layer.weight_shape == (3, 6)
    torch.testing.assert_close(
        got.module.get_parameter("node/p.weight").detach(), torch.from_numpy(held["w"].T.copy())
    )


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [(3,), (1, 3), (), None])
def test_gemm_is_a_linear_layer_and_takes_its_factors_in(
    tmp_path: Path, transposed: int, bias: tuple[int, ...] | None
) -> None:
    held = {"w": weight(3, 6) if transposed else weight(6, 3)}
    names = ["x", "w"]
    if bias is not None:
        held["b"] = weight(*bias)
        names.append("b")
    more: dict[str, Any] = {"alpha": 0.5, "beta": 2.0, "transB": transposed}
    got = imported(tmp_path, [node("Gemm", names, "y", **more)], ["n", 6], held)
    layer = capture_graph(got.module, got.input_shape).layers[1]
    assert (layer.weight_shape, layer.bias is None) == ((3, 6), bias is None)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 1, 1)])
def test_a_bias_behind_a_convolution(tmp_path: Path, operator: str, shape: tuple[int, ...]) -> None:
    weights = weight(4, 3, 3, 3) if operator == "Conv" else weight(3, 4, 3, 3)
    nodes = [node(operator, ["x", "w"], "c"), node("Add", ["c", "b"], "y")]
    got = imported(tmp_path, nodes, ["n", 3, 6, 6], {"w": weights, "b": weight(*shape)})
    layer = capture_graph(got.module, got.input_shape).layers[1]
    assert (layer.name, layer.bias) == ("node/c", "node/c.bias")


def test_a_map_added_to_a_convolution_is_no_bias(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Add", ["c", "b"], "y")]
    held = {"w": weight(4, 3, 3, 3), "b": weight(1, 4, 4, 4)}
    assert imported(tmp_path, nodes, ["n", 3, 6, 6], held).report.recognised == ()


def test_a_weight_that_two_layers_share_stays_one(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "w"], "a"), node("Relu", ["a"], "r"), node("MatMul", ["r", "w"], "y")
    ]  # fmt: skip
    module = imported(tmp_path, nodes, ["n", 4], {"w": weight(4, 4)}).module
    assert module.get_parameter("node/a.weight") is module.get_parameter("node/y.weight")
