"""Fewer bits than the type has, as tools write them: clips of integers before DequantizeLinear."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from model_io.encodings.apply_to_network import encoding_from_quantizer
from model_io.errors import ModelError
from model_io.onnx_import.load_onnx import load_onnx_network

WHOLE = np.random.default_rng(0).integers(-9, 9, (5, 8))
make = helper.make_node
QUANTIZE = make("QuantizeLinear", ["w", "s", "z"], ["wq"], axis=0)
CLIPS: dict[str, list[NodeProto]] = {
    "Clip": [QUANTIZE, make("Clip", ["wq", "low", "high"], ["wc"])],
    "Max and Min": [
        QUANTIZE, make("Max", ["wq", "low"], ["wm"]), make("Min", ["wm", "high"], ["wc"]),
    ],
    "Clip between casts": [
        QUANTIZE, make("Cast", ["wq"], ["w32"], to=TensorProto.INT32),
        make("Clip", ["w32", "low32", "high32"], ["c32"]),
        make("Cast", ["c32"], ["wc"], to=TensorProto.INT8),
    ],
    "Clip of stored integers": [make("Clip", ["whole", "low", "high"], ["wc"])],
    "Clip of stored int32": [
        make("Clip", ["whole32", "low32", "high32"], ["c32"]),
        make("Cast", ["c32"], ["wc"], to=TensorProto.INT8),
    ],
    "one limit": [QUANTIZE, make("Clip", ["wq", "least"], ["wc"])],
}  # fmt: skip


def written(nodes: list[NodeProto], path: Path) -> onnx.ModelProto:
    held = {
        "w": (WHOLE * 0.03).astype("float32"),
        "s": np.full(5, 0.05, "float32"), "z": np.zeros(5, "int8"),
        "low": np.array(-7, "int8"), "high": np.array(7, "int8"), "least": np.array(-127, "int8"),
        "low32": np.array(-7, "int32"), "high32": np.array(7, "int32"),
        "whole": WHOLE.astype("int8"), "whole32": WHOLE.astype("int32"),
    }  # fmt: skip
    read = {name for node in nodes for name in node.input} | {"s", "z"}
    graph = helper.make_graph(
        [
            *nodes, make("DequantizeLinear", ["wc", "s", "z"], ["wd"], axis=0),
            make("Gemm", ["x", "wd"], ["y"], "fc", transB=1),
        ],
        "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(held[name], name) for name in sorted(read & held.keys())],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return model


@pytest.mark.parametrize("form", CLIPS)
def test_the_clip_is_the_width(form: str, tmp_path: Path) -> None:
    written(CLIPS[form], tmp_path / "net.onnx")
    got = load_onnx_network(tmp_path / "net.onnx")
    (encoding,) = got.encodings
    assert encoding.constant
    assert encoding.narrow
    assert encoding.node == "fc"
    most = 127 if form == "one limit" else 7
    assert encoding_from_quantizer(encoding).code_limits == (-most, most)
    if "stored" in form:  # otherwise the file's real weights come in
        x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
        weight = torch.tensor(WHOLE.clip(-7, 7) * 0.05).float()
        torch.testing.assert_close(got.module(x).detach(), x @ weight.T)


def test_a_clip_by_several_limits_is_refused_in_a_sentence(tmp_path: Path) -> None:
    model = written(CLIPS["Clip"], tmp_path / "net.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "low":
            tensor.CopyFrom(numpy_helper.from_array(np.array([-7, -6], "int8"), "low"))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="must fit its inputs"):
        load_onnx_network(tmp_path / "net.onnx")
