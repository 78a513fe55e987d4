"""Quantized files: quantizers go, their grids are read exactly, the float network stays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, load, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from analysis.evaluation.measures import sqnr_db
from model_io.errors import ModelError
from model_io.load import load_model
from model_io.onnx_import.load_onnx import load_onnx_network
from quant.graph.capture import capture_graph
from tests.model_io.onnx_files import Array, constant, model, node, saved, small, weight


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.left = [generator.normal(size=(2, 3, 8, 8)).astype(np.float32) for _ in range(4)]

    def get_next(self) -> dict[str, Array] | None:
        return {"x": self.left.pop()} if self.left else None


def quantized(folder: Path, **more: Any) -> tuple[Path, Path]:
    """Return (float file, file that ONNX Runtime's own tool quantized)."""
    made = small()
    names = iter(("conv", "relu", "pool", "flat", "fc"))
    for step in made.graph.node:
        step.name = next(names)
    source = saved(folder / "float.onnx", made)
    target = folder / "int8.onnx"
    quantize_static(source, target, Reader(), quant_format=QuantFormat.QDQ, **more)
    return source, target


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_what_onnx_runtime_quantized(tmp_path: Path, per_channel: bool, bits: int) -> None:
    kinds = {8: (QuantType.QUInt8, QuantType.QInt8), 16: (QuantType.QUInt16, QuantType.QInt8)}
    activation, weights = kinds[bits]
    source, target = quantized(
        tmp_path, per_channel=per_channel, activation_type=activation, weight_type=weights
    )
    reader = load(target)
    plain, got = load_onnx_network(source), load_onnx_network(target)
    assert [layer.name for layer in capture_graph(got.module, got.input_shape).layers] == [
        layer.name for layer in capture_graph(plain.module, plain.input_shape).layers
    ]
    held: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in reader.graph.initializer}
    by_tensor = {e.tensor: e for e in got.encodings}
    for quantizer in reader.graph.node:
        if quantizer.op_type != "QuantizeLinear":
            continue
        found = by_tensor[quantizer.input[0]]
        assert found.scale == tuple(np.atleast_1d(held[quantizer.input[1]]).astype(float))
        assert found.zero_point == tuple(np.atleast_1d(held[quantizer.input[2]]).astype(int))
        assert (found.bits, found.signed, found.constant) == (bits, False, False)
    assert by_tensor["x"].node == "input"
    assert {e.node for e in got.encodings if e.constant} == {"conv", "fc"}
    kernel = next(e for e in got.encodings if e.constant and e.bits == 8 and e.node == "conv")
    assert (len(kernel.scale), kernel.axis, kernel.signed) == (
        (4, 0, True) if per_channel else (1, None, True)
    )
    whole = plain.module.get_parameter("conv.weight").detach().numpy()
    back = got.module.get_parameter("conv.weight").detach().numpy()
    steps = np.array(kernel.scale).reshape(-1, 1, 1, 1)
    assert (np.abs(whole - back) <= steps * 0.501).all()
    np.testing.assert_allclose(np.round(back / steps), back / steps, atol=1e-3)


def pair(tensor: str, scale: str, zero: str, output: str, **more: Any) -> list[Any]:
    return [
        node("QuantizeLinear", [tensor, scale, zero], f"{output}_q", **more),
        node("DequantizeLinear", [f"{output}_q", scale, zero], output, **more),
    ]


def test_float_weights_between_quantizers_stay_as_they_are(tmp_path: Path) -> None:
    nodes = [
        *pair("x", "sx", "zx", "xd"), *pair("w", "sw", "zw", "wd", axis=0),
        node("Gemm", ["xd", "wd"], "g", "fc", transB=1), *pair("g", "sx", "zx", "y"),
    ]  # fmt: skip
    held: dict[str, Array] = {
        "w": weight(3, 4), "sx": np.array(0.05, np.float32), "zx": np.array(7, np.uint8),
        "sw": np.array([0.1, 0.2, 0.3], np.float32), "zw": np.zeros(3, np.int8),
    }  # fmt: skip
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 4], held)))
    np.testing.assert_array_equal(got.module.get_parameter("fc.weight").detach().numpy(), held["w"])
    x, w, g = got.encodings
    assert (x.tensor, x.node, x.zero_point, x.signed) == ("x", "input", (7,), False)
    assert (w.tensor, w.node, w.constant, w.axis) == ("w", "fc", True, 0)
    assert w.scale == pytest.approx((0.1, 0.2, 0.3))
    assert (g.tensor, g.node, g.constant) == ("g", "fc", False)


@pytest.mark.parametrize("name", ["int4", "uint4", "int8", "int16", "int32"])
def test_stored_integers_of_every_width(tmp_path: Path, name: str) -> None:
    kind = getattr(TensorProto, name.upper())
    low, high = (-8, 8) if name == "int4" else (0, 15) if name == "uint4" else (-100, 100)
    whole = np.random.default_rng(0).integers(low, high, (3, 4))
    zero = [0] * 3 if name == "int32" else [1, 2, 3]
    nodes = [
        node("DequantizeLinear", ["w", "s", "z"], "wd", axis=0),
        node("Gemm", ["x", "wd"], "y", "fc", transB=1),
    ]
    made = model(nodes, ["n", 4], {"s": np.array([0.1, 0.2, 0.3], np.float32)}, opset=21)
    made.graph.initializer.append(helper.make_tensor("w", kind, (3, 4), whole.ravel().tolist()))
    made.graph.initializer.append(helper.make_tensor("z", kind, (3,), zero))
    got = load_onnx_network(saved(tmp_path / "net.onnx", made))
    (encoding,) = got.encodings
    assert (encoding.bits, encoding.signed) == (int(name.strip("uint")), name[0] == "i")
    want = (whole - np.array(zero)[:, None]) * np.array([[0.1], [0.2], [0.3]], np.float32)
    np.testing.assert_allclose(
        got.module.get_parameter("fc.weight").detach().numpy(), want, rtol=1e-6
    )


@pytest.mark.parametrize("columns", [8, 7])
def test_blocks(tmp_path: Path, columns: int) -> None:
    whole = np.random.default_rng(0).integers(-100, 100, (2, columns)).astype(np.int8)
    scale = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    nodes = [
        node("DequantizeLinear", ["w", "s"], "wd", axis=1, block_size=4),
        node("Gemm", ["x", "wd"], "y", "fc", transB=1),
    ]
    got = load_onnx_network(
        saved(
            tmp_path / "net.onnx", model(nodes, ["n", columns], {"w": whole, "s": scale}, opset=21)
        )
    )
    (encoding,) = got.encodings
    assert (encoding.axis, encoding.block_size, len(encoding.scale)) == (1, 4, 4)
    want = whole * np.repeat(scale, 4, 1)[:, :columns]
    np.testing.assert_allclose(
        got.module.get_parameter("fc.weight").detach().numpy(), want, rtol=1e-6
    )


def test_values_that_pass_on_in_integers(tmp_path: Path) -> None:
    nodes = [
        node("Sin", ["x"], "s", "sine"), node("QuantizeLinear", ["s", "sx", "zx"], "q"),
        node("MaxPool", ["q"], "p", "pool", kernel_shape=[2, 2]),
        node("DequantizeLinear", ["p", "sx", "zx"], "y"),
    ]  # fmt: skip
    held: dict[str, Array] = {"sx": np.array(0.05, np.float32), "zx": np.array(7, np.uint8)}
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 2, 4, 4], held)))
    assert [(e.tensor, e.node) for e in got.encodings] == [("s", "sine"), ("p", "pool")]


@pytest.mark.filterwarnings("ignore")
def test_a_relu_that_the_tool_took_out_is_there_again(tmp_path: Path) -> None:
    source, target = quantized(tmp_path)
    assert "Relu" in {step.op_type for step in load(source).graph.node}
    assert "Relu" not in {step.op_type for step in load(target).graph.node}
    inputs = torch.from_numpy(Reader().left[0])
    wanted, got = (load_onnx_network(path).module(inputs) for path in (source, target))
    # weights are those of 8 bits, and nothing else differs
    assert sqnr_db(wanted, got) > 35


@pytest.mark.parametrize(("top", "kind"), [(6.0, "hardtanh"), (5.0, "relu")])
def test_a_grid_from_zero_to_six_stands_for_relu6(tmp_path: Path, top: float, kind: str) -> None:
    nodes = [node("Conv", ["x", "w"], "c", "conv"), *pair("c", "s", "z", "y")]
    held: dict[str, Array] = {
        "w": weight(4, 3, 1, 1), "s": np.array(top / 255, np.float32), "z": np.array(0, np.uint8),
    }  # fmt: skip
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 3, 4, 4], held)))
    output = got.module(100 * torch.randn(5, 3, 4, 4)).detach()
    assert float(output.min()) == 0.0
    assert (float(output.max()) == 6.0) == (kind == "hardtanh")


def computed_scale() -> ModelProto:
    nodes = [node("ReduceMax", ["x"], "s", keepdims=0), *pair("x", "s", "z", "y")]
    return model(nodes, ["n", 4], {"z": np.array(0, np.uint8)})


def float8() -> ModelProto:
    made = model(pair("x", "s", "z", "y"), ["n", 4], {"s": np.array(0.1, np.float32)}, opset=19)
    made.graph.initializer.append(helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, (), [0.0]))
    return made


def channels() -> ModelProto:
    nodes = [node("DequantizeLinear", ["w", "s"], "wd", axis=0), node("Add", ["x", "wd"], "y")]
    held: dict[str, Array] = {"w": np.ones((3, 4), np.int8), "s": np.ones(2, np.float32)}
    return model(nodes, ["n", 4], held)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (computed_scale(), "constant scale and zero point"),
        (float8(), "must quantize to integers, got float8_e4m3fn"),
        (channels(), "a scale for each of 3 channels, got 2"),
    ],
)
def test_quantizers_that_are_not_read(tmp_path: Path, made: ModelProto, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load_onnx_network(saved(tmp_path / "net.onnx", made))


@pytest.mark.filterwarnings("ignore")
def test_other_quantized_formats_are_refused_with_a_remedy(tmp_path: Path) -> None:
    source = saved(tmp_path / "float.onnx", small())
    target = tmp_path / "int8.onnx"
    quantize_dynamic(source, target)
    with pytest.raises(ModelError, match="Export the float network"):
        load_onnx_network(target)
    quantize_static(source, target, Reader(), quant_format=QuantFormat.QOperator)
    with pytest.raises(ModelError, match="QDQ format"):
        load_onnx_network(target)


def test_the_grids_reach_the_one_door(tmp_path: Path) -> None:
    nodes = [constant("s", np.array(0.1, np.float32)), constant("z", np.array(3, np.uint8)),
             *pair("x", "s", "z", "xd"), node("Sin", ["xd"], "y", "sine")]  # fmt: skip
    loaded = load_model(saved(tmp_path / "net.onnx", model(nodes, ["n", 4])))
    assert [e.tensor for e in loaded.encodings] == ["x"]
    assert loaded.report is not None
    assert loaded.report.encodings == 1
