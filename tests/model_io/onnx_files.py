"""Small ONNX models, made by hand in the manner of several exporters."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tests.random_numbers import RANDOM

Array = NDArray[Any]


def weight(*shape: int) -> Array:
    return RANDOM.normal(0, 0.5, shape).astype(np.float32)


def node(
    operator: str, inputs: Iterable[str], output: str, name: str = "", **more: Any
) -> NodeProto:
    return helper.make_node(operator, list(inputs), output.split(), name=name, **more)


def constant(name: str, value: Array) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


def model(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str | None],
    held: dict[str, Array] | None = None,
    *,
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    outputs: Sequence[str] = ("y",),
    functions: Sequence[Any] = (),
    domains: Sequence[str] = (),
) -> ModelProto:
    """Return a model with the input x of this shape, and the outputs named."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (held or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="by hand")
    made.functions.extend(functions)
    return made


def saved(path: Path, made: ModelProto) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


def small(name: str = "") -> ModelProto:
    """Return a convolution, a ReLU, a mean and a linear layer."""
    return model(
        [
            node("Conv", ["x", "w", "b"], "c", f"{name}conv", pads=[1, 1, 1, 1]),
            node("Relu", ["c"], "r", f"{name}relu"),
            node("GlobalAveragePool", ["r"], "p", f"{name}pool"),
            node("Flatten", ["p"], "f", f"{name}flat"),
            node("Gemm", ["f", "v"], "y", f"{name}fc", transB=1),
        ],
        ["batch", 3, 8, 8],
        {"w": weight(4, 3, 3, 3), "b": weight(4), "v": weight(5, 4)},
    )
