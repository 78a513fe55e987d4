"""Whole files come in: names, shapes, batches, types, constants; what differs is refused."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from model_io.errors import ModelError
from model_io.load import load_model, load_uploaded_model
from model_io.loaded_model import ModelOrigin
from model_io.onnx_import.load_onnx import load_onnx_network
from model_io.onnx_import.operators import TABLE, Operator
from quant.graph.capture import capture_graph
from quant.passes.fold_batch_norm import FoldBatchNorm
from tests.model_io.onnx_files import constant, model, node, saved, small, weight
from tests.networks import SMALL, Case


def test_layers_bear_the_names_of_the_nodes(tmp_path: Path) -> None:
    got = load_onnx_network(saved(tmp_path / "net.onnx", small("/stage.0/block/")))
    graph = capture_graph(got.module, got.input_shape)
    assert [(layer.name, str(layer.kind)) for layer in graph.layers] == [
        ("input", "input"),
        ("/stage.0/block/conv", "conv"),
        ("/stage.0/block/pool", "average-pool"),
        ("/stage.0/block/fc", "linear"),
    ]
    assert graph["/stage.0/block/conv"].weight == "/stage.0/block/conv.weight"
    assert got.batch is None
    assert graph.batch is None


def test_unnamed_and_equal_names(tmp_path: Path) -> None:
    nodes = [
        node("Exp", ["x"], "first.out"), node("Tanh", ["first.out"], "b", "twice"),
        node("Exp", ["b"], "c", "twice"), node("Sigmoid", ["c"], "y", "twice.inner"),
    ]  # fmt: skip
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 3])))
    names = [layer.name for layer in capture_graph(got.module, got.input_shape).layers]
    assert names == ["input", "first.out", "twice", "twice_2", "twice.inner"]


def test_an_output_that_the_file_stores_is_left_out(tmp_path: Path) -> None:
    made = model([node("Relu", ["x"], "y", "act")], ["n", 3], {"held": weight(1)[0]})
    made.graph.output.append(helper.make_tensor_value_info("held", TensorProto.FLOAT, []))
    got = load_onnx_network(saved(tmp_path / "net.onnx", made))
    graph = capture_graph(got.module, got.input_shape)
    assert len(graph.output_nodes) == 1
    assert "1 of 2 outputs" in graph.notes[0]


def test_weights_are_trained_and_edited(tmp_path: Path) -> None:
    module = load_onnx_network(saved(tmp_path / "net.onnx", small())).module
    names = {name for name, _ in module.named_parameters()}
    assert names == {"conv.weight", "conv.bias", "fc.weight"}
    x = torch.randn(4, 3, 8, 8)
    module(x).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in module.parameters())
    before = module(x).detach()
    with torch.no_grad():
        module.get_parameter("fc.weight").mul_(2)
    torch.testing.assert_close(module(x), before * 2)


def exported(folder: Path, case: Case, *, dynamo: bool, free: bool, opset: int) -> Path:
    path = folder / "net.onnx"
    inputs = case.inputs(2 if free else 1)
    kept = io.StringIO()
    with redirect_stdout(kept), redirect_stderr(kept):
        if dynamo:
            batch = ({0: torch.export.Dim("batch", min=1, max=4096)},) if free else None
            torch.onnx.export(
                case.model(), (inputs,), path, dynamo=True, opset_version=opset,
                external_data=False, dynamic_shapes=batch,
            )  # fmt: skip
        else:
            torch.onnx.export(
                case.model(), (inputs,), path, dynamo=False, opset_version=opset,
                input_names=["x"], dynamic_axes={"x": {0: "n"}} if free else None,
            )  # fmt: skip
    return path


# dynamo, free, opset: each network by both exporters, with free and fixed batches in turn
WAYS = ([(False, True, 14), (True, False, 20)], [(False, False, 17), (True, True, 18)])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "dynamo", "free", "opset"),
    [(name, *way) for place, name in enumerate(SMALL) for way in WAYS[place % 2]],
)
def test_what_torch_exports_computes_the_same(
    tmp_path: Path, name: str, dynamo: bool, free: bool, opset: int
) -> None:
    if dynamo:
        pytest.importorskip("onnxscript")
    case = SMALL[name]
    got = load_onnx_network(exported(tmp_path, case, dynamo=dynamo, free=free, opset=opset))
    assert got.input_shape == case.shape
    assert got.batch is None
    graph = FoldBatchNorm()(capture_graph(got.module, got.input_shape))
    x = case.inputs(3)
    with torch.no_grad():
        want = case.model()(x)
        torch.testing.assert_close(graph(x), want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_functions_are_written_out(tmp_path: Path, dynamo: bool) -> None:
    del dynamo
    inner = [node("Sigmoid", ["a"], "s"), node("Mul", ["a", "s"], "b")]
    own = helper.make_function("mine", "Silu", ["a"], ["b"], inner, [helper.make_opsetid("", 17)])
    nodes = [node("Silu", ["x"], "h", "act", domain="mine"), node("Relu", ["h"], "y", "relu")]
    made = model(nodes, ["n", 3], functions=[own], domains=["mine"])
    got = load_onnx_network(saved(tmp_path / "net.onnx", made))
    assert [found.operator for found in got.report.recognised] == ["Swish"]


def test_weights_in_constant_nodes(tmp_path: Path) -> None:
    made = small()
    held = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    nodes = [*(constant(name, value) for name, value in held.items()), *made.graph.node]
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 3, 8, 8])))
    assert got.report.node_count == 5
    assert {name for name, _ in got.module.named_parameters()} == {
        "conv.weight", "conv.bias", "fc.weight",
    }  # fmt: skip


def test_constants_are_folded(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", ["w"], "wt", perm=[1, 0]), node("Cast", ["wt"], "wc", to=1),
        node("MatMul", ["x", "wc"], "y", "product"),
    ]  # fmt: skip
    held = {"w": weight(3, 4).astype(np.float16)}
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 4], held)))
    assert got.report.folded == 2
    assert list(dict(got.module.named_parameters())) == ["product.weight"]


def test_a_batch_norm_comes_in_and_is_folded(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], "c", "conv"),
        node("BatchNormalization", ["c", "g", "b", "m", "v"], "n", "bn", epsilon=1e-3),
        node("Relu", ["n"], "y", "relu"),
    ]  # fmt: skip
    held = {"w": weight(4, 3, 3, 3), "v": weight(4) ** 2 + 0.5}
    held |= {name: weight(4) for name in "gbm"}
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 3, 6, 6], held)))
    assert "bn.running_var" in dict(got.module.named_buffers())
    graph = capture_graph(got.module, got.input_shape)
    folded = FoldBatchNorm()(graph)
    assert [layer.name for layer in folded.layers] == ["input", "conv"]
    assert list(folded.normals) == [folded["conv"].node]
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(folded(x), graph(x), rtol=1e-4, atol=1e-5)


def test_the_way_tf2onnx_writes_a_network(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["x"], "real", "Cast", to=1),
        node("Transpose", ["real"], "nchw", "Conv2D__1", perm=[0, 3, 1, 2]),
        node("Conv", ["nchw", "w"], "c", "model/conv/Conv2D", auto_pad="SAME_UPPER",
             strides=[2, 2]),
        node("Transpose", ["c"], "nhwc", "model/conv__2", perm=[0, 2, 3, 1]),
        node("Transpose", ["nhwc"], "back", "model/pool__3", perm=[0, 3, 1, 2]),
        node("Relu", ["back"], "r", "model/relu"),
        node("ReduceMean", ["r"], "p", "model/mean", axes=[2, 3], keepdims=0),
        node("MatMul", ["p", "d"], "m", "model/dense/MatMul"),
        node("Add", ["m", "b"], "a", "model/dense/BiasAdd"),
        node("Softmax", ["a"], "y", "model/softmax", axis=-1),
    ]  # fmt: skip
    held = {"w": weight(4, 3, 3, 3), "d": weight(4, 5), "b": weight(5)}
    made = model(nodes, ["unk__1", 9, 9, 3], held, opset=13, kind=TensorProto.UINT8)
    got = load_onnx_network(saved(tmp_path / "net.onnx", made))
    assert (got.input_shape, got.report.transposes) == ((9, 9, 3), 1)
    graph = capture_graph(got.module, got.input_shape)
    assert [(layer.name, str(layer.kind)) for layer in graph.layers] == [
        ("input", "input"), ("model/conv/Conv2D", "conv"), ("model/mean", "average-pool"),
        ("model/dense/MatMul", "linear"), ("model/softmax", "activation"),
    ]  # fmt: skip


def test_sizes_computed_from_the_shape(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], "s"), node("Gather", ["s", "zero"], "n", axis=0),
        node("Unsqueeze", ["n", "first"], "n1"), node("Concat", ["n1", "rest"], "target", axis=0),
        node("Reshape", ["x", "target"], "f"), node("Gather", ["s", "two"], "h", axis=0),
        node("Cast", ["h"], "hr", to=1), node("Sqrt", ["hr"], "root"),
        node("Div", ["f", "root"], "scaled"), node("Exp", ["scaled"], "y", "exp"),
    ]  # fmt: skip
    held = {"zero": np.array(0), "first": np.array([0]), "rest": np.array([-1]), "two": np.array(2)}
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 3, 4, 4], held)))
    graph = capture_graph(got.module, got.input_shape)
    assert graph.batch is None
    assert graph(torch.randn(7, 3, 4, 4)).shape == (7, 48)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_freed(tmp_path: Path, batch: int) -> None:
    nodes = [
        node("Relu", ["x"], "r", "relu"), node("Reshape", ["r", "flat"], "f", "flat"),
        node("Gemm", ["f", "w"], "y", "fc", transB=1),
    ]  # fmt: skip
    held = {"flat": np.array([batch, 12]), "w": weight(5, 12)}
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, [batch, 3, 4], held)))
    assert (got.batch, got.report.freed_batch) == (None, batch)
    assert capture_graph(got.module, got.input_shape)(torch.randn(7, 3, 4)).shape == (7, 5)


def test_a_class_token_of_a_fixed_batch_is_freed(tmp_path: Path) -> None:
    nodes = [node("Concat", ["token", "x"], "y", "cat", axis=1)]
    held = {"token": weight(1, 1, 4)}
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, [1, 3, 4], held)))
    assert got.batch is None
    assert got.module(torch.randn(5, 3, 4)).shape == (5, 4, 4)


def test_a_batch_that_matters_stays_fixed(tmp_path: Path) -> None:
    nodes = [node("ReduceSum", ["x", "first"], "s", "sum"), node("Sub", ["x", "s"], "y", "sub")]
    held = {"first": np.array([0])}
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, [2, 3], held)))
    assert (got.batch, got.report.freed_batch) == (2, None)


def test_open_sizes_are_asked_for(tmp_path: Path) -> None:
    made = small()
    sizes = made.graph.input[0].type.tensor_type.shape.dim
    sizes[2].dim_param, sizes[3].dim_param = "height", "width"
    path = saved(tmp_path / "net.onnx", made)
    with pytest.raises(ModelError, match=r"got \(3, \?, \?\) in net.onnx.* such as 3,224,224"):
        load_onnx_network(path)
    assert load_model(path, input_shape=(3, 12, 10)).input_shape == (3, 12, 10)
    assert load_uploaded_model(path, "up.onnx", (3, 12, 10)).name == "up"
    with pytest.raises(ModelError, match=r"must fit \(3, \?, \?\), .* got \(1, 12, 10\)"):
        load_onnx_network(path, (1, 12, 10))
    small_digest = load_model(path, input_shape=(3, 8, 8)).digest
    assert load_model(path, input_shape=(3, 12, 10)).digest != small_digest


@pytest.mark.parametrize("shape", [[3], []])
def test_an_input_without_a_batch(tmp_path: Path, shape: list[int]) -> None:
    made = model([node("Relu", ["x"], "y")], shape)
    with pytest.raises(ModelError, match="must have the batch as its first axis"):
        load_onnx_network(saved(tmp_path / "net.onnx", made))


def test_half_precision_is_widened(tmp_path: Path) -> None:
    made = small()
    for tensor in made.graph.initializer:
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    got = load_onnx_network(saved(tmp_path / "net.onnx", made))
    assert got.report.widened
    assert {p.dtype for p in got.module.parameters()} == {torch.float32}
    assert got.module(torch.randn(1, 3, 8, 8)).dtype == torch.float32


def test_double_precision_comes_in_as_float(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], "y", "fc")]
    made = model(nodes, ["n", 4], {"w": weight(4, 3).astype(np.float64)}, kind=TensorProto.DOUBLE)
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    got = load_onnx_network(saved(tmp_path / "net.onnx", made))
    assert got.module(torch.randn(2, 4)).dtype == torch.float32


@pytest.mark.parametrize("chosen", [True, False])
def test_a_decided_branch_is_taken_in(tmp_path: Path, chosen: bool) -> None:
    def branch(operator: str) -> onnx.GraphProto:
        free = [helper.make_empty_tensor_value_info("b")]
        return helper.make_graph([node(operator, ["h"], "b", f"in {operator}")], "g", [], free)

    nodes = [
        node("Sin", ["x"], "h", "sine"), constant("c", np.array(chosen)),
        node("If", ["c"], "y", "if", then_branch=branch("Exp"), else_branch=branch("Tanh")),
    ]  # fmt: skip
    got = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 3])))
    names = [layer.name for layer in capture_graph(got.module, got.input_shape).layers]
    assert names == ["input", "sine", "in Exp" if chosen else "in Tanh"]


def test_a_wrong_operator_is_told_with_its_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        node("Exp", ["x"], "a", "right"), node("Sin", ["a"], "b", "wrong"),
        node("Exp", ["b"], "y", "after"),
    ]  # fmt: skip
    path = saved(tmp_path / "net.onnx", model(nodes, ["n", 3]))
    assert load_onnx_network(path).report.difference < 1e-5
    monkeypatch.setitem(TABLE, "Sin", Operator(lambda call: call.input_tensor(0).sin() * 1.01))
    with pytest.raises(ModelError, match=r"first layer that differs is The node 'wrong' \(Sin\)"):
        load_onnx_network(path)


def test_what_runtime_cannot_open_is_refused(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], "h", "relu"), node("Flatten", ["h"], "y", "flat", axis=1, odd=3)]
    with pytest.raises(ModelError, match="must be a file that ONNX Runtime can open") as caught:
        load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, ["n", 3, 2])))
    assert str(tmp_path) not in str(caught.value)


def test_the_report_in_sentences(tmp_path: Path) -> None:
    nodes = [
        node("Identity", ["x"], "i"),
        node("Sigmoid", ["i"], "s"),
        node("Mul", ["i", "s"], "y", "act"),
    ]
    report = load_onnx_network(saved(tmp_path / "net.onnx", model(nodes, [2, 3]))).report
    first, *others = report.report_sentences()
    assert first == "3 nodes of 3 operators, opset 17, written by by hand."
    assert others[:4] == [
        "Operators: 1 Identity, 1 Sigmoid, 1 Mul.",
        "1 nodes were constant or copies and are gone.",
        "Recognised in 2 nodes: 1 Swish.",
        "Any batch runs, though the file has one of 2.",
    ]
    assert others[4].startswith("Beside ONNX Runtime on 6 inputs: largest relative diff")


def test_through_the_one_door(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx", small())
    loaded = load_model(path)
    assert (loaded.name, loaded.origin, loaded.input_shape) == ("net", ModelOrigin.ONNX, (3, 8, 8))
    assert loaded.report is not None
    assert load_uploaded_model(path, "x/other.onnx").digest == loaded.digest
    with pytest.raises(ModelError, match=r"builder belongs to \.safetensors"):
        load_model(path, builder="a.py:b")


class Steps(nn.Module):
    """What exporters make of ordinary vision code: sizes, slices, upsampling, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.rnn = nn.LSTM(8, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.gelu(self.norm(self.conv(x)))
        y = nn.functional.interpolate(y, scale_factor=2, mode="bilinear")
        y = nn.functional.avg_pool2d(y, 3, 2, 1, ceil_mode=True)
        a, b = y.chunk(2, 1)
        tokens = torch.cat([b, a], 1).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        values, _ = self.rnn(tokens)
        picked: Tensor = self.head(nn.functional.normalize(values[:, ::3], dim=-1).amax(1))
        return picked


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True])
def test_ordinary_vision_code(tmp_path: Path, dynamo: bool) -> None:
    if dynamo:
        pytest.importorskip("onnxscript")
    case = Case(Steps, (3, 8, 8))
    got = load_onnx_network(exported(tmp_path, case, dynamo=dynamo, free=True, opset=18))
    found = {f.operator for f in got.report.recognised}
    assert {"GroupNormalization", "Linear"} <= found
    graph = capture_graph(got.module, got.input_shape)
    assert graph.batch is None
    x = case.inputs(5)
    with torch.no_grad():
        torch.testing.assert_close(graph(x), case.model()(x), rtol=1e-3, atol=1e-4)


def test_an_import_is_saved_and_loaded_as_pt2(tmp_path: Path) -> None:
    got = load_onnx_network(saved(tmp_path / "net.onnx", small("/stage.0/block:1/")))
    batch = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    program = torch.export.export(got.module, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=batch)
    torch.export.save(program, tmp_path / "net.pt2")
    again = load_model(tmp_path / "net.pt2")
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(again.module(x), got.module(x))
    assert again.program is not None
    names = [layer.name for layer in capture_graph(again.program, again.input_shape).layers]
    assert names[1] == "/stage.0/block:1/conv"


def branching(axis: int) -> onnx.ModelProto:
    """Return a model that squeezes only where a size is one, as torch writes x.squeeze()."""

    def branch(step: onnx.NodeProto) -> onnx.GraphProto:
        free = [helper.make_empty_tensor_value_info("b")]
        return helper.make_graph([step], "g", [], free)

    nodes = [
        node("Sin", ["x"], "h", "sine"), node("Shape", ["h"], "s"),
        node("Gather", ["s", "axis"], "n", axis=0), node("Equal", ["n", "one"], "c"),
        node("If", ["c"], "k", "if", then_branch=branch(node("Exp", ["h"], "b", "one")),
             else_branch=branch(node("Tanh", ["h"], "b", "more"))),
        node("Sin", ["k"], "y", "last"),
    ]  # fmt: skip
    return model(nodes, ["n", 1, 4], {"axis": np.array(axis), "one": np.array(1)})


def test_a_branch_that_the_shape_decides_is_taken_in(tmp_path: Path) -> None:
    got = load_onnx_network(saved(tmp_path / "net.onnx", branching(1)))
    names = [layer.name for layer in capture_graph(got.module, got.input_shape).layers]
    assert names == ["input", "sine", "one", "last"]
    got = load_onnx_network(saved(tmp_path / "net.onnx", branching(2)))
    names = [layer.name for layer in capture_graph(got.module, got.input_shape).layers]
    assert names == ["input", "sine", "more", "last"]


def test_a_branch_that_the_batch_decides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"If \(the node 'if'\)"):
        load_onnx_network(saved(tmp_path / "net.onnx", branching(0)))


def test_given_inputs_are_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "net.onnx", model([node("Abs", ["x"], "y", "abs")], ["n", 3]))
    inputs = torch.full((7, 3), 300.0)
    assert load_onnx_network(path, inputs=inputs).report.inputs == 9
    # wrong where random inputs never come
    wrong = Operator(lambda call: call.input_tensor(0).abs().clamp(max=200))
    monkeypatch.setitem(TABLE, "Abs", wrong)
    assert load_onnx_network(path).report.difference == 0
    with pytest.raises(ModelError, match="first layer that differs is The node 'abs'"):
        load_onnx_network(path, inputs=inputs)


def test_an_output_of_whole_numbers_is_refused(tmp_path: Path) -> None:
    made = model([node("ArgMax", ["x"], "y", "best", axis=1)], ["n", 3])
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ModelError, match=r"must return real numbers.*such as ArgMax"):
        load_onnx_network(saved(tmp_path / "net.onnx", made))


@pytest.mark.filterwarnings("ignore")
def test_a_bag_that_the_exporter_writes_as_a_loop_is_refused_with_advice(tmp_path: Path) -> None:
    bag = nn.Sequential(nn.EmbeddingBag(20, 8, mode="sum"), nn.Linear(8, 2)).eval()
    path = tmp_path / "bag.onnx"
    torch.onnx.export(bag, (torch.zeros(2, 3, dtype=torch.int64),), str(path), dynamo=False)
    with pytest.raises(ModelError, match=r"EmbeddingBag of torch is a loop.*\.pt2 file"):
        load_onnx_network(path)
