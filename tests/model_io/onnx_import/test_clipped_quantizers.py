"""Fewer bits than eight as Brevitas writes them: QuantizeLinear, Clip, DequantizeLinear."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_io.encodings.apply_to_network import encoding_from_quantizer
from model_io.onnx_import.load_onnx import load_onnx_network


def test_the_clip_is_the_width(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    held = {
        "w": (rng.standard_normal((5, 8)) * 0.2).astype("float32"),
        "s": np.full(5, 0.05, "float32"), "z": np.zeros(5, "int8"),
        "low": np.array(-7, "int8"), "high": np.array(7, "int8"),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["wq"], axis=0),
        helper.make_node("Clip", ["wq", "low", "high"], ["wc"]),
        helper.make_node("DequantizeLinear", ["wc", "s", "z"], ["wd"], axis=0),
        helper.make_node("Gemm", ["x", "wd"], ["y"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    (encoding,) = load_onnx_network(tmp_path / "net.onnx").encodings
    assert (encoding.tensor, encoding.bits, encoding.narrow) == ("w", 4, True)
    assert encoding_from_quantizer(encoding).code_limits == (-7, 7)
