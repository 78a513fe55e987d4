"""Files that are damaged or mean harm: refused in clear words, in bounded memory, without paths."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from model_io.errors import ModelError, UnsafeFileError
from model_io.load import load_model, load_uploaded_model
from model_io.onnx_import.load_onnx import load_onnx_network
from model_io.onnx_import.reading import check_wire as wire
from quant.graph.capture import capture_graph
from quant.passes.fold_batch_norm import FoldBatchNorm
from tests.model_io.onnx_files import constant, model, node, saved, small, weight

MIB = 2**20


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[ModelProto | bytes], str]:
    """Return a function that says why a file is refused, and checks how."""

    def refuse(made: ModelProto | bytes, shape: tuple[int, ...] = ()) -> str:
        path = tmp_path / "secret-folder" / "evil.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ModelError) as caught:
            load_onnx_network(path, shape)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown * 1024 < 400 * MIB
        text = str(caught.value)
        assert "secret-folder" not in text
        assert len(text) < 1200
        return text

    return refuse


Refuse = Callable[..., str]


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04c", b"\x08\x0d", b"PK\x03\x04" * 9])
def test_what_is_no_onnx_file(refused: Refuse, content: bytes) -> None:
    assert "evil.onnx must" in refused(content)


def test_a_file_cut_short_anywhere(refused: Refuse) -> None:
    whole = small().SerializeToString()
    for length in [*range(1, len(whole), 97), len(whole) - 1]:
        refused(whole[:length])
    assert "cut short" in refused(whole[: len(whole) // 2])


def test_a_length_of_two_gigabytes_in_the_header(refused: Refuse) -> None:
    # field 7, the graph, of 2**31 bytes
    assert "cut short" in refused(b"\x08\x08\x3a\x80\x80\x80\x80\x08" + b"\0" * 50)


def test_a_tensor_that_claims_two_gigabytes(refused: Refuse) -> None:
    made = small()
    made.graph.initializer[0].dims[:] = [2**31, 1, 1, 1]
    assert "'w'" in refused(made)
    made.graph.initializer[0].dims[:] = [2**20, 3, 3, 3]
    assert "must hold 28311552 values as its shape says, got 108" in refused(made)
    made.graph.initializer[0].dims[:] = [-1, 3, 3, 3]
    assert "shape" in refused(made)
    made.graph.initializer[0].dims[:] = [2**62, 2**62, 1, 1]
    assert "shape" in refused(made)


def test_many_small_parts(refused: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_PARTS", 1000)
    # field 1 of a graph, a node, of no bytes
    graph = b"\x0a\x00" * 2000
    assert "at most 1000 parts" in refused(b"\x3a" + bytes([0xA0, 0x1F]) + graph)


def test_many_small_parts_at_full_size(refused: Refuse) -> None:
    count = wire.MAX_PARTS + 10
    length = count * 2
    prefix = bytes([0x3A]) + bytes([(length >> s & 127) | 128 for s in (0, 7, 14)] + [length >> 21])
    assert "parts" in refused(prefix + b"\x0a\x00" * count)


def test_deep_nesting(refused: Refuse) -> None:
    def field(number: int, content: bytes) -> bytes:
        size = len(content)
        length = bytes([(size >> shift & 127) | 128 for shift in (0, 7)] + [size >> 14])
        return bytes([number << 3 | 2]) + length + content

    graph = b""
    for _ in range(40):  # a node of a graph, an attribute of the node, a graph of the attribute
        graph = field(1, field(5, field(6, graph)))
    assert "at most 60 parts deep" in refused(field(7, graph))


def test_a_circle(refused: Refuse) -> None:
    ring = [node("Add", ["x", "b"], "a", "first"), node("Relu", ["a"], "b", "second"),
            node("Relu", ["b"], "y", "third")]  # fmt: skip
    assert "must form no circle, got one through 'first'" in refused(model(ring, [1, 3]))
    assert "circle" in refused(model([node("Add", ["x", "y"], "y", "self")], [1, 3]))


def test_values_from_nowhere_and_written_twice(refused: Refuse) -> None:
    assert "'gone'" in refused(model([node("Add", ["x", "gone"], "y", "add")], [1, 3]))
    twice = [node("Relu", ["x"], "a", "one"), node("Abs", ["x"], "a", "two"),
             node("Add", ["a", "a"], "y", "sum")]  # fmt: skip
    assert "written once" in refused(model(twice, [1, 3]))
    nowhere = model([node("Relu", ["x"], "z", "one")], [1, 3])
    assert "evil.onnx" in refused(nowhere)


BOMBS: dict[str, list[Any]] = {
    "expand": [node("Expand", ["one", "many"], "big"), node("ReduceMax", ["big"], "m", keepdims=0),
               node("Add", ["x", "m"], "y")],
    "constant of shape": [node("ConstantOfShape", ["many"], "big"),
                          node("ReduceMax", ["big"], "m", keepdims=0),
                          node("Add", ["x", "m"], "y")],
    "tile": [node("Tile", ["one", "many"], "big"), node("ReduceMax", ["big"], "m", keepdims=0),
             node("Add", ["x", "m"], "y")],
    "tile of the input": [node("Tile", ["x", "wide"], "big"), node("ReduceMax", ["big"], "y")],
    "expand of the input": [node("Expand", ["x", "wide_shape"], "big"), node("Exp", ["big"], "e"),
                            node("ReduceMax", ["e"], "y")],
    "range": [node("Range", ["zero", "scalar_many", "step"], "big"),
              node("ReduceMax", ["big"], "m", keepdims=0), node("Cast", ["m"], "f", to=1),
              node("Add", ["x", "f"], "y")],
    "pad": [node("Pad", ["x", "pads"], "big"), node("ReduceMax", ["big"], "y")],
    "resize": [node("Reshape", ["x", "image"], "i"), node("Resize", ["i", "", "scales"], "big"),
               node("ReduceMax", ["big"], "y")],
    "resize by a matrix": [
        node("Reshape", ["x", "image"], "i"),
        node("Resize", ["i", "", "scales"], "big", mode="linear",
             coordinate_transformation_mode="asymmetric"),
        node("ReduceMax", ["big"], "y")],
    "one hot": [node("Cast", ["x"], "i", to=7), node("OneHot", ["i", "scalar_many", "pair"], "big"),
                node("ReduceMax", ["big"], "y")],
    "split": [node("Split", ["x"], "y", axis=1, num_outputs=2**40)],
    "square of a size": [node("Shape", ["x"], "s0"),
                         *(node("Mul", [f"s{i}", f"s{i}"], f"s{i + 1}") for i in range(60)),
                         node("Cast", ["s60"], "f", to=1), node("Add", ["x", "f"], "y")],
    "power": [node("Shape", ["x"], "s"), node("Pow", ["s", "many"], "p"),
              node("Cast", ["p"], "f", to=1), node("Add", ["x", "f"], "y")],
    "doubled sizes": [node("Shape", ["x"], "s0"),
                      *(node("Concat", [f"s{i}", f"s{i}"], f"s{i + 1}", axis=0) for i in range(40)),
                      node("ReduceMax", ["s40"], "m", keepdims=0), node("Cast", ["m"], "f", to=1),
                      node("Add", ["x", "f"], "y")],
    "doubled values": [node("Identity", ["x"], "s0"),
                       *(node("Concat", [f"s{i}"] * 2, f"s{i + 1}", axis=1) for i in range(40)),
                       node("ReduceMax", ["s40"], "y")],
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_would_fill_the_memory(refused: Refuse, name: str) -> None:
    held: dict[str, Any] = {
        "one": np.ones(1, np.float32), "many": np.array([2**36]), "scalar_many": np.array(2**36),
        "wide": np.array([1, 2**36]), "wide_shape": np.array([2**36, 1, 4]), "zero": np.array(0),
        "step": np.array(1), "pads": np.array([0, 2**36, 0, 0]), "image": np.array([-1, 1, 2, 2]),
        "scales": np.array([1, 1, 2**20, 2**20], np.float32), "pair": np.array([0, 1], np.float32),
    }  # fmt: skip
    assert len(model(BOMBS[name], [1, 4], held).SerializeToString()) < 10_000
    refused(model(BOMBS[name], [1, 4], held, opset=18))


def test_a_bomb_that_no_output_needs_is_never_run(tmp_path: Path) -> None:
    made = small()
    made.graph.node.append(node("Tile", ["c", "times"], "unused", "bomb"))
    made.graph.initializer.append(numpy_helper.from_array(np.array([2**30, 1, 1, 1]), "times"))
    names = dict(load_onnx_network(saved(tmp_path / "a.onnx", made)).module.named_modules())
    assert "conv" in names
    assert "bomb" not in names


def test_functions_that_call_themselves_or_each_other_without_end(refused: Refuse) -> None:
    def function(name: str, *calls: str) -> Any:
        inner = [node(call, ["a" if not i else f"t{i - 1}"], f"t{i}", domain="f")
                 for i, call in enumerate(calls)]  # fmt: skip
        last = node("Relu", [f"t{len(calls) - 1}" if calls else "a"], "b")
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
        return helper.make_function("f", name, ["a"], ["b"], [*inner, last], opsets)

    call = [node("f0", ["x"], "y", "call", domain="f")]
    itself = [function("f0", "f0")]
    assert "call itself" in refused(model(call, [1, 3], functions=itself, domains=["f"]))
    doubling = [function(f"f{i}", *([f"f{i + 1}"] * 4 if i < 30 else [])) for i in range(31)]
    assert "20000 nodes" in refused(model(call, [1, 3], functions=doubling, domains=["f"]))
    empty = helper.make_function("f", "f30", ["b"], ["b"], [], [helper.make_opsetid("", 17)])
    assert "20000 nodes" in refused(
        model(call, [1, 3], functions=[*doubling[:30], empty], domains=["f"])
    )
    small = function("f1")
    small.overload = "small"  # of the same name: which of the two is called counts
    assert "20000 nodes" in refused(
        model(call, [1, 3], functions=[*doubling, small], domains=["f"])
    )


def test_many_fields_that_make_no_parts(refused: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FIELDS", 1000)
    assert "parts" in refused(b"\x78\x01" * 2000)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (node("Loop", ["", "", "x"], "y", "the loop"), "Loop (the node 'the loop')"),
        (node("Fancy", ["x"], "y", "mine", domain="com.mine"), "com.mine.Fancy (the node 'mine')"),
        (node("Linear", ["x", "w"], "y", "own"), "Linear (the node 'own')"),
        (
            node("HardSwish", ["x"], "y", "own", domain="quantscope"),
            "quantscope of the file.HardSwish",
        ),
        (node("NonMaxSuppression", ["x", "x"], "y", "nms"), "extract_model"),
        (node("DynamicQuantizeLinear", ["x"], "y s z", "dq"), "float network"),
        (node("Gelu", ["x"], "y", "early"), "Gelu (the node 'early')"),
        (node("RandomNormalLike", ["x"], "y", "noise"), "It draws random numbers"),
    ],
)
def test_operators_that_cannot_come_in_are_named(refused: Refuse, step: Any, said: str) -> None:
    text = refused(model([step], [1, 3], {"w": weight(3, 3)}, domains=["com.mine", "quantscope"]))
    assert said in text


def test_an_if_that_depends_on_values_is_named(refused: Refuse) -> None:
    branch = helper.make_graph([node("Relu", ["x"], "b")], "then", [], [
        helper.make_empty_tensor_value_info("b")])  # fmt: skip
    nodes = [
        node("ReduceMax", ["x"], "m", keepdims=0),
        node("Greater", ["m", "zero"], "c"),
        node("If", ["c"], "y", "decide", then_branch=branch, else_branch=branch),
    ]
    text = refused(model(nodes, [1, 3], {"zero": np.array(0, np.float32)}))
    assert "If (the node 'decide')" in text
    assert "depends on values" in text


def test_all_refused_operators_are_listed_at_once(refused: Refuse) -> None:
    nodes = [node("Loop", ["", "", "x"], "a", "l"), node("Mine", ["a"], "b", "m1", domain="d"),
             node("Mine", ["b"], "y", "m2", domain="d")]  # fmt: skip
    text = refused(model(nodes, [1, 3], domains=["d"]))
    assert "Loop (the node 'l')" in text
    assert "d.Mine (2 nodes, the first is 'm1')" in text


@pytest.mark.parametrize("opset", [8, 99])
def test_other_versions_of_the_standard(refused: Refuse, opset: int) -> None:
    made = small()
    made.opset_import[0].version = opset
    assert f"version 9 to 25, got {opset}" in refused(made)


def two_inputs(first: list[int | str], second: list[int | str], kind: int = 1) -> ModelProto:
    made = model([node("Cast", ["z"], "c", to=1), node("Add", ["x", "c"], "y")], first)
    made.graph.input.append(helper.make_tensor_value_info("z", kind, second))
    return made


def test_inputs_that_are_no_batches(refused: Refuse) -> None:
    assert "of one size, got the sizes" in refused(two_inputs([2, 3], [1, 3]))
    assert "The input 'z'" in refused(two_inputs([2, 3], []))
    assert "must take a tensor, got none" in refused(model([constant("y", weight(2, 3))], [1, 3]))


def test_open_sizes_of_all_inputs_are_asked_for_at_once(refused: Refuse) -> None:
    text = refused(two_inputs(["n", 3, "h", "w"], ["n", "t"], kind=7))
    assert "got (3, ?, ?) for x, (?) for z in evil.onnx" in text
    assert "such as x=3,224,224; z=128" in text


def test_text_as_input(refused: Refuse) -> None:
    assert "must hold numbers, got string for 'z'" in refused(two_inputs([2, 3], [2, 3], kind=8))


def test_nodes_that_do_not_fit(refused: Refuse) -> None:
    made = small()
    made.graph.node[0].attribute[0].ints[:] = [1, 1]
    assert "'conv'" in refused(made)
    made = small()
    made.graph.initializer[2].CopyFrom(numpy_helper.from_array(weight(5, 7), "v"))
    assert "'fc'" in refused(made)


def outside(made: ModelProto, location: str, offset: str = "0", length: str | None = None) -> None:
    """Let the first tensor lie in another file."""
    tensor = made.graph.initializer[0]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": location, "offset": offset, "length": length or str(size)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def test_tensors_beside_the_file(tmp_path: Path) -> None:
    made = small()
    raw = made.graph.initializer[0].raw_data
    outside(made, "weights/w.bin", offset="64")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/w.bin").write_bytes(b"\0" * 64 + raw)
    path = saved(tmp_path / "net.onnx", made)
    imported = load_onnx_network(path)
    assert imported.report.outside == 1
    held = imported.module.get_parameter("conv.weight")
    np.testing.assert_array_equal(held.detach().numpy().ravel(), np.frombuffer(raw, np.float32))
    first = load_model(path).digest
    (tmp_path / "weights/w.bin").write_bytes(b"\0" * 64 + raw[::-1])
    with pytest.raises(UnsafeFileError, match="uploaded ONNX file must hold its weights"):
        load_uploaded_model(path, "net.onnx")
    (tmp_path / "weights/w.bin").write_bytes(b"\0" * 64 + np.ones(108, np.float32).tobytes())
    assert load_model(path).digest != first


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "{outside}", "a/../../w.bin", "link/w.bin", "link.bin", "", ".", "a\0b"],
)
def test_tensors_outside_the_folder(tmp_path: Path, location: str) -> None:
    home, away = tmp_path / "secret-home", tmp_path / "secret-away"
    for folder in (home, home / "a", away):
        folder.mkdir()
    for file in (tmp_path / "w.bin", away / "w.bin"):
        file.write_bytes(b"\0" * 4096)
    (home / "link").symlink_to(away)
    (home / "link.bin").symlink_to(away / "w.bin")
    made = small()
    outside(made, location.format(outside=away / "w.bin"))
    with pytest.raises(UnsafeFileError, match="must lie in the model's own folder") as caught:
        load_onnx_network(saved(home / "net.onnx", made))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "offset", "length", "said"),
    [
        ("gone.bin", "0", None, "got none named 'gone.bin'"),
        ("w.bin", "0", None, "got a place beyond its end"),
        ("big.bin", "-4", None, "offset '-4'"),
        ("big.bin", "0", "8", "length '8'"),
        ("big.bin", "9" * 30, None, "offset"),
        ("folder", "0", None, "got none named 'folder'"),
    ],
)
def test_tensors_beside_the_file_that_are_not_there(
    tmp_path: Path, location: str, offset: str, length: str | None, said: str
) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 4)
    (tmp_path / "big.bin").write_bytes(b"\0" * 4096)
    (tmp_path / "folder").mkdir()
    made = small()
    outside(made, location, offset, length)
    with pytest.raises(ModelError, match="must lie") as caught:
        load_onnx_network(saved(tmp_path / "net.onnx", made))
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ['a"), __import__("pathlib").Path("{marker}").touch(), getattr(self, "a', "a\\", "x\ny",
     "\uff02",
     'b")\n    import pathlib; pathlib.Path("{marker}").touch()\n    #', "class", "", "a..b", ".",
     "forward", "training", "a.weight", "x" * 5000, "a." * 3000, "L['self']", "{0}", "\ufb01ne"],
)  # fmt: skip
def test_names_never_become_source(tmp_path: Path, name: str) -> None:
    # torch.fx writes paths of modules into Python source and runs it
    marker = tmp_path / "executed"
    made = small()
    made.graph.node[0].name = name.replace("{marker}", str(marker))
    made.graph.node[1].name = "a"
    imported = load_onnx_network(saved(tmp_path / "net.onnx", made))
    graph = FoldBatchNorm()(capture_graph(imported.module, imported.input_shape))
    assert graph(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    assert len(graph.layers) == 4
    assert not marker.exists()


def test_a_branch_without_a_condition(refused: Refuse) -> None:
    assert "evil.onnx must be a consistent ONNX file" in refused(
        model([node("Relu", ["x"], "r"), helper.make_node("If", [], ["k"]),
               node("Add", ["r", "k"], "y")], [1, 3])
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_damaged_bytes_give_a_sentence_or_a_network(tmp_path: Path, seed: int) -> None:
    whole = small().SerializeToString()
    random = np.random.default_rng(seed)
    said = []
    for _ in range(40):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 6)):
            damaged[place] = random.integers(0, 256)
        path = tmp_path / "net.onnx"
        path.write_bytes(damaged)
        try:
            load_onnx_network(path)
        except ModelError as error:
            said.append(str(error))
    assert said
    assert not any(str(tmp_path) in sentence for sentence in said)
