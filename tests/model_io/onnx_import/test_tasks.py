"""Networks of other tasks as ONNX: several inputs and outputs, tokens, beside ONNX Runtime."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from model_io.errors import ModelError
from model_io.input_specs import InputSpec, read_input_specs
from model_io.load import load_model
from model_io.onnx_import.load_onnx import check_onnx_agreement, load_onnx_network
from model_io.onnx_import.operators import TABLE, Operator
from model_io.onnx_import.program.read_program import FileInput
from model_io.onnx_import.program.steps import OnnxProgram, OnnxStep
from model_io.onnx_import.verify import random_trial_inputs
from quant.graph.capture import capture_graph
from quant.graph.node_facts import facts_of_node
from quant.inputs import tensors_of_batch
from quant.passes.fold_batch_norm import FoldBatchNorm
from tests.model_io.onnx_files import model, node, saved, weight
from tests.task_networks import ROWS, TASKS

EVERY = pytest.mark.parametrize("name", TASKS)
OUTPUTS = {"detector": ["scores", "boxes", "best"]}


def exported(folder: Path, name: str, *, dynamo: bool, free: bool) -> Path:
    task, path, kept = TASKS[name], folder / f"{name}.onnx", io.StringIO()
    names = [one.name for one in task.inputs]
    outputs = OUTPUTS.get(name, ["y"])
    inputs = tensors_of_batch(task.draw(2 if free else 1))
    with redirect_stdout(kept), redirect_stderr(kept):
        if dynamo:
            batch = torch.export.Dim("batch", min=1, max=4096)
            torch.onnx.export(
                task.model(), inputs, path, dynamo=True, external_data=False,
                input_names=names, output_names=outputs,
                dynamic_shapes=({0: batch},) * len(names) if free else None,
            )  # fmt: skip
        else:
            torch.onnx.export(
                task.model(), inputs, path, dynamo=False, opset_version=17,
                input_names=names, output_names=outputs,
                dynamic_axes={key: {0: "n"} for key in [*names, *outputs]} if free else None,
            )  # fmt: skip
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("dynamo", "free"), [(False, True), (False, False), (True, True)])
@EVERY
def test_what_torch_exports_computes_the_same(
    tmp_path: Path, name: str, dynamo: bool, free: bool
) -> None:
    task = TASKS[name]
    got = load_onnx_network(exported(tmp_path, name, dynamo=dynamo, free=free))
    assert [(one.name, one.shape, one.kind) for one in got.inputs] == [
        (one.name, one.shape, one.kind) for one in task.inputs
    ]
    assert got.report.difference < 1e-4
    assert got.report.left_out == (("best",) if name == "detector" else ())
    graph = FoldBatchNorm()(capture_graph(got.module, got.inputs, got.batch))
    assert [one.name for one in graph.inputs] == [one.name for one in task.inputs]
    x = task.draw(graph.batch or 3)
    given = task.model()(*tensors_of_batch(x))
    wanted = [v for v in (given if isinstance(given, tuple) else (given,)) if v.is_floating_point()]
    for ours, theirs in zip(tensors_of_batch(graph.run(x)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.filterwarnings("ignore")
def test_layers_of_tokens_are_those_of_the_network(tmp_path: Path) -> None:
    got = load_onnx_network(exported(tmp_path, "tokens", dynamo=False, free=True))
    graph = capture_graph(got.module, got.inputs)
    kinds = [str(layer.kind) for layer in graph.layers]
    assert kinds.count("embedding") == 1
    assert kinds.count("linear") == 5
    assert graph.inputs[0].below == ROWS
    masking = [n for n in graph.module.graph.nodes if facts_of_node(n).masking]
    assert len(masking) == 1


@pytest.mark.filterwarnings("ignore")
@EVERY
def test_it_is_checked_on_real_inputs(tmp_path: Path, name: str) -> None:
    path = exported(tmp_path, name, dynamo=False, free=True)
    got = load_model(path)
    found = check_onnx_agreement(path, got.inputs, inputs=tensors_of_batch(TASKS[name].draw(5, 4)))
    assert found.inputs == 5
    assert found.difference < 1e-4


def test_a_difference_on_real_inputs_names_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [node("Relu", ["x"], "r", "first"), node("Abs", ["r"], "y", "second")]
    path = saved(tmp_path / "net.onnx", model(nodes, ["n", 3]))
    # wrong where random inputs never come
    wrong = Operator(lambda call: call.input_tensor(0).abs().clamp(max=200))
    monkeypatch.setitem(TABLE, "Abs", wrong)
    (spec,) = load_onnx_network(path).inputs
    with pytest.raises(ModelError, match=r"first layer that differs is The node 'second'"):
        check_onnx_agreement(path, (spec,), inputs=(torch.full((2, 3), 300.0),))


def test_fewer_inputs_than_a_batch_are_filled_up(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "to"], "r"), node("Relu", ["r"], "y")]
    path = saved(tmp_path / "net.onnx", model(nodes, [4, 3], {"to": np.array([4, 3])}))
    (spec,) = load_onnx_network(path).inputs
    found = check_onnx_agreement(path, (spec,), inputs=(torch.randn(6, 3),))
    assert (found.inputs, found.difference) == (6, 0)
    assert check_onnx_agreement(path, (spec,), inputs=(torch.randn(0, 3),)).inputs == 0


def test_pixels_are_put_to_the_file_as_whole_numbers(tmp_path: Path) -> None:
    nodes = [node("Cast", ["x"], "c", to=1), node("Sin", ["c"], "y")]
    path = saved(tmp_path / "net.onnx", model(nodes, ["n", 3], kind=TensorProto.UINT8))
    (spec,) = load_onnx_network(path).inputs
    assert (
        check_onnx_agreement(path, (spec,), inputs=(torch.rand(5, 3) * 300 - 20,)).difference < 1e-5
    )


def test_an_input_that_nothing_reads_is_none(tmp_path: Path) -> None:
    made = model([node("Relu", ["x"], "y")], ["n", 3])
    made.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4]))
    assert [one.name for one in load_onnx_network(saved(tmp_path / "net.onnx", made)).inputs] == [
        "x"
    ]


def test_open_sizes_are_given_by_name(tmp_path: Path) -> None:
    nodes = [node("GlobalAveragePool", ["x"], "p"), node("Flatten", ["p"], "f"),
             node("Cast", ["ids"], "c", to=1), node("ReduceSum", ["c", "axis"], "s", keepdims=1),
             node("Add", ["f", "s"], "y")]  # fmt: skip
    made = model(nodes, ["n", 3, "h", "w"], {"axis": np.array([1])})
    made.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "t"]))
    path = saved(tmp_path / "net.onnx", made)
    got = load_onnx_network(path, read_input_specs("ids=7; x=3,6,6"))
    assert got.inputs == (InputSpec("x", (3, 6, 6)), InputSpec("ids", (7,), "int64"))
    with pytest.raises(ModelError, match=r"got \(\?\) for ids in net\.onnx"):
        load_onnx_network(path, read_input_specs("x=3,6,6"))
    with pytest.raises(ModelError, match="got one for 'text'"):
        load_onnx_network(path, read_input_specs("ids=7; x=3,6,6; text=2"))
    with pytest.raises(ModelError, match=r"The shape of 'x' must fit \(3, \?, \?\)"):
        load_onnx_network(path, read_input_specs("ids=7; x=4,6,6"))


def test_tokens_are_drawn_within_their_table(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", ["ids", "one"], "u"), node("Gather", ["w", "u"], "g", "words"),
             node("ReduceMean", ["g"], "m", axes=[1, 2]), node("Identity", ["m"], "y")]  # fmt: skip
    made = model(nodes, ["n", 4], {"w": weight(5, 3), "one": np.array([2])}, kind=7)
    made.graph.input[0].name = "ids"
    got = load_onnx_network(saved(tmp_path / "net.onnx", made))
    assert got.inputs == (InputSpec("ids", (4,), "int64"),)
    assert capture_graph(got.module, got.inputs).inputs[0].below == 5


def test_random_tokens_reach_every_row() -> None:
    step = OnnxStep("pick", "Gather", ("w", "ids"), ("y",), {})
    program = OnnxProgram([step], {"w": torch.zeros(5, 2)}, "ids", "y", 17)
    sources = (FileInput("ids", TensorProto.INT64, (None, 50)),)
    (ids,) = random_trial_inputs(program, sources, (InputSpec("ids", (50,), "int64"),), 9)
    assert (int(ids.min()), int(ids.max())) == (0, 4)


def test_the_outputs_of_the_file_keep_their_order(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], "b"), node("Abs", ["x"], "a"), node("Identity", ["a"], "c")]
    made = model(nodes, ["n", 3], outputs=["c", "b", "a"])
    got = load_onnx_network(saved(tmp_path / "net.onnx", made))
    x = torch.randn(2, 3)
    for found, wanted in zip(got.module(x), (x.abs(), x.relu(), x.abs()), strict=True):
        assert torch.equal(found, wanted)
    assert onnx.load(tmp_path / "net.onnx").graph.output[0].name == "c"
