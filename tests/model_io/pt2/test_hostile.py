"""Files that act when torch opens them. Each is first shown to be real: torch.export.load itself
writes the marker; then our loader refuses the same file and the marker stays away."""

import contextlib
import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from model_io.errors import ModelError, UnsafeFileError
from model_io.load import load_model, load_uploaded_model
from model_io.pt2.archive import CONSTANTS_CONFIG, PROGRAM, SAMPLE_INPUTS, WEIGHTS_CONFIG

Json = dict[str, Any]
MakeJson = Callable[[str, Callable[[Json], object]], Path]
Make = Callable[[Callable[[dict[str, bytes]], None]], Path]


def open_with_torch(path: Path) -> None:
    """What a careless program does."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        torch.export.load(path).module()(torch.zeros(2, 1, 6, 6))


def assert_refused(path: Path, marker: Path, match: str, *, real: bool = True) -> None:
    with pytest.raises(UnsafeFileError, match=match) as refusal:
        load_model(path)
    assert not marker.exists()
    assert str(path.parent) not in str(refusal.value)
    with pytest.raises(UnsafeFileError, match=match):
        load_uploaded_model(path, "mine.pt2")
    assert not marker.exists()
    if real:
        open_with_torch(path)
        assert marker.exists(), "the payload of this test does nothing"


def code(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


@pytest.mark.parametrize(
    ("config", "name"), [(WEIGHTS_CONFIG, "weight_0"), (CONSTANTS_CONFIG, "tensor_0")]
)
def test_pickled_tensors(
    tampered: Make, marker: Path, pickled: bytes, config: str, name: str
) -> None:
    def change(members: dict[str, bytes]) -> None:
        table = json.loads(members[config])
        entry = next(e for e in table["config"].values() if e["path_name"] == name)
        entry["use_pickle"] = True
        members[config] = json.dumps(table).encode()
        members[f"{config.rpartition('/')[0]}/{name}"] = pickled

    assert_refused(tampered(change), marker, "raw bytes.*unpickling can run code")


def test_pickled_object_among_the_constants(tampered: Make, marker: Path, pickled: bytes) -> None:
    del pickled

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, (code(marker),))

    def change(members: dict[str, bytes]) -> None:
        table = json.loads(members[CONSTANTS_CONFIG])
        entry = next(iter(table["config"].values()))
        entry |= {"path_name": "opaque_obj_0", "use_pickle": True, "tensor_meta": None}
        members[CONSTANTS_CONFIG] = json.dumps(table).encode()
        members["data/constants/opaque_obj_0"] = pickle.dumps(Evil())

    assert_refused(tampered(change), marker, "a pickled object")


def test_script_object_among_the_constants(tampered: Make, marker: Path, pickled: bytes) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["data/constants/custom_obj_0"] = pickled

    assert_refused(tampered(change), marker, "a pickled object", real=False)


def test_pickled_sample_inputs(tampered: Make, marker: Path, pickled: bytes) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[SAMPLE_INPUTS] = pickled

    assert_refused(tampered(change), marker, "sample inputs.*exec")


@pytest.mark.parametrize(
    "hidden", [b"cos\nsystem\n(S'true'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93."]
)
def test_sample_inputs_that_are_a_bare_pickle(tampered: Make, marker: Path, hidden: bytes) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[SAMPLE_INPUTS] = hidden

    assert_refused(tampered(change), marker, "sample inputs", real=False)


def test_sample_inputs_with_names_from_the_stack(tampered: Make, marker: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x04\x8c\x02os\x8c\x06system\x93.")

    def change(members: dict[str, bytes]) -> None:
        members[SAMPLE_INPUTS] = inner.getvalue()

    assert_refused(tampered(change), marker, "STACK_GLOBAL", real=False)


def test_pickles_of_older_archives(tampered: Make, marker: Path, pickled: bytes) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["data/weights/model.pt"] = pickled

    assert_refused(tampered(change), marker, "only what torch.export.save writes")


def test_the_format_of_torch_2_7(tmp_path: Path, marker: Path, pickled: bytes) -> None:
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.20")
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", pickled)
        archive.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(ModelError, match=r"only what torch\.export\.save writes|one root folder"):
        load_model(path)
    assert not marker.exists()


def test_compiled_library(tampered: Make, marker: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["data/aotinductor/model/evil.so"] = b"\x7fELF"

    assert_refused(tampered(change), marker, "a compiled library", real=False)


def test_shape_expression_that_is_python(tampered_json: MakeJson, marker: Path) -> None:
    def change(program: Json) -> None:
        values = program["graph_module"]["graph"]["tensor_values"]
        values["x"]["sizes"][0]["as_expr"]["expr_str"] = code(marker)

    assert_refused(tampered_json(PROGRAM, change), marker, "integer arithmetic")


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "1" * 499 + "x", "s0.__class__", "Mod(s0, 2)[0]", "0x9", "(" * 501]
)
def test_shape_expressions_that_are_no_arithmetic(
    tampered_json: MakeJson, marker: Path, text: str
) -> None:
    def change(program: Json) -> None:
        values = program["graph_module"]["graph"]["tensor_values"]
        values["x"]["sizes"][0]["as_expr"]["expr_str"] = text

    path = tampered_json(PROGRAM, change)
    assert_refused(path, marker, "integer arithmetic", real=False)


def test_name_of_an_input_that_is_python(tampered_json: MakeJson, marker: Path) -> None:
    evil = f"x=[{code(marker)}]"

    def change(program: Json) -> None:
        graph_module = program["graph_module"]
        graph = graph_module["graph"]
        graph["inputs"][-1]["as_tensor"]["name"] = evil
        graph["tensor_values"][evil] = graph["tensor_values"].pop("x")
        graph_module["signature"]["input_specs"][-1]["user_input"]["arg"]["as_tensor"]["name"] = (
            evil
        )
        for entry in graph["nodes"][0]["inputs"]:
            if entry["arg"].get("as_tensor") == {"name": "x"}:
                entry["arg"]["as_tensor"]["name"] = evil

    assert_refused(tampered_json(PROGRAM, change), marker, "a name|names")


def test_type_of_the_inputs_that_imports(
    tampered_json: MakeJson, marker: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "evil_module.py").write_text(code(marker))
    monkeypatch.syspath_prepend(tmp_path)
    evil = {"__enum__": True, "fqn": "evil_module:Color", "name": "RED"}
    kind = {"type": "collections.OrderedDict", "context": json.dumps(evil), "children_spec": []}

    def change(program: Json) -> None:
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        signature["in_spec"] = json.dumps([1, kind])

    assert_refused(tampered_json(PROGRAM, change), marker, "tuples, lists and dicts")


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.hub.load",
        "torch.load",
        "torch.ops.aten.save.default",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.no_such_operator.default",
        "torch.ops.aten._empty_affine_quantized.default",
        "torch.ops.aten.relu.default.__class__",
        "torch.ops.mine.evil.default",
        "torch.ops.higher_order.wrap_with_set_grad_enabled",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "math.__loader__",
        "#namespace:op",
        "os.system",
    ],
)
def test_operators_that_do_more_than_compute(
    tampered_json: MakeJson, marker: Path, target: str
) -> None:
    def change(program: Json) -> None:
        program["graph_module"]["graph"]["nodes"][1]["target"] = target

    assert_refused(tampered_json(PROGRAM, change), marker, "target in the graph", real=False)


@pytest.mark.parametrize("key", ["as_operator", "as_graph", "as_custom_obj"])
def test_arguments_that_are_no_values(tampered_json: MakeJson, marker: Path, key: str) -> None:
    def change(program: Json) -> None:
        program["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = {key: "torch.os.system"}

    assert_refused(tampered_json(PROGRAM, change), marker, "plain operators only", real=False)


def test_text_in_a_place_that_is_not_known(tampered_json: MakeJson, marker: Path) -> None:
    def change(program: Json) -> None:
        program["graph_module"]["graph"]["new_field"] = "text"

    assert_refused(tampered_json(PROGRAM, change), marker, "new_field.*no text", real=False)


def test_range_of_a_symbol_that_is_python(tampered_json: MakeJson, marker: Path) -> None:
    def change(program: Json) -> None:
        program["range_constraints"][code(marker)] = {"min_val": 1, "max_val": 2}

    assert_refused(tampered_json(PROGRAM, change), marker, "range_constraints", real=False)


def test_guards_are_dropped(tampered_json: MakeJson, marker: Path) -> None:
    path = tampered_json(PROGRAM, lambda p: p["guards_code"].append(f"[{code(marker)}]"))
    loaded = load_model(path)
    loaded.module(torch.zeros(2, 1, 6, 6))
    assert not marker.exists()
    open_with_torch(path)
    assert marker.exists(), "the payload of this test does nothing"


def test_huge_tensor_without_bytes(tampered_json: MakeJson, marker: Path) -> None:
    def change(table: Json) -> None:
        meta = table["config"]["conv.weight"]["tensor_meta"]
        meta["sizes"][0]["as_int"] = 10**11

    assert_refused(tampered_json(WEIGHTS_CONFIG, change), marker, "inside its stored", real=False)


def test_tensor_that_reads_beyond_its_bytes(tampered_json: MakeJson, marker: Path) -> None:
    def change(table: Json) -> None:
        table["config"]["conv.weight"]["tensor_meta"]["storage_offset"]["as_int"] = 1

    assert_refused(tampered_json(WEIGHTS_CONFIG, change), marker, "inside its stored", real=False)


@pytest.mark.parametrize("value", [-1, 2**62, "8", True, None])
def test_tensor_of_strange_size(tampered_json: MakeJson, marker: Path, value: object) -> None:
    def change(table: Json) -> None:
        table["config"]["conv.weight"]["tensor_meta"]["strides"][0]["as_int"] = value

    assert_refused(tampered_json(WEIGHTS_CONFIG, change), marker, "dense tensor|as_int", real=False)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a\\..\\b", "..", "c:/windows"])
def test_names_that_lead_outside(good: dict[bool, bytes], tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.pt2"
    path.write_bytes(good[True])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"text")
    with pytest.raises(UnsafeFileError, match=r"stay inside|only what"):
        load_model(path)


def test_doubled_member(good: dict[bool, bytes], tmp_path: Path) -> None:
    path = tmp_path / "evil.pt2"
    path.write_bytes(good[True])
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(f"{root}/{PROGRAM}", b"{}")
    with pytest.raises(UnsafeFileError, match="twice"):
        load_model(path)


@pytest.mark.parametrize("depth", [400, 900, 100_000])
def test_endless_nesting(tampered: Make, depth: int) -> None:
    nested = b'{"graph_module": ' + b"[" * depth + b"]" * depth + b"}"
    path = tampered(lambda members: members.update({PROGRAM: nested}))
    with pytest.raises(ModelError, match="must"):
        load_model(path)
    path.unlink()
    path.parent.rmdir()


def test_nesting_inside_a_sound_graph(tampered_json: MakeJson, marker: Path) -> None:
    nested: list[Any] = []
    for _ in range(400):
        nested = [nested]
    path = tampered_json(PROGRAM, lambda p: p["graph_module"]["graph"].update(extra=nested))
    with pytest.raises(ModelError, match="must"):
        load_model(path)
    assert not marker.exists()


def test_zip_bomb(tampered: Make, tmp_path: Path) -> None:
    del tampered
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data/weights/weight_0", bytes(300 * 2**20))
    with pytest.raises(UnsafeFileError, match="must unpack to at most"):
        load_model(path)


def test_member_that_lies_about_its_size(tampered: Make) -> None:
    path = tampered(lambda _: None)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist()]
    at = -1
    for name in names:  # the central directory is at the end
        at = data.rfind(name.encode())
        if name.endswith("weight_0"):
            break
    struct.pack_into("<II", data, at - 46 + 20, 2**31, 2**31)
    path.write_bytes(bytes(data))
    with pytest.raises(UnsafeFileError, match="must unpack to at most"):
        load_model(path)


def test_encrypted_member(tampered: Make) -> None:
    path = tampered(lambda _: None)
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1  # the flags of the last member in the directory
    path.write_bytes(bytes(data))
    with pytest.raises(UnsafeFileError, match="encrypted"):
        load_model(path)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".bin", ".ckpt", ".PTH"])
def test_checkpoints_are_never_opened(
    tmp_path: Path, marker: Path, pickled: bytes, suffix: str
) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(pickled)
    loads = (partial(load_model, path), partial(load_uploaded_model, path, f"a/b/net{suffix}"))
    for load in loads:
        with pytest.raises(UnsafeFileError, match=r"safetensors.*torch\.export\.save") as refusal:
            load()
        assert str(tmp_path) not in str(refusal.value)
        assert "a/b" not in str(refusal.value)
    assert not marker.exists()


def test_checkpoint_under_another_name(tmp_path: Path, marker: Path, pickled: bytes) -> None:
    for name in ("net.pt2", "net.safetensors"):
        path = tmp_path / name
        path.write_bytes(pickled)
        with pytest.raises(ModelError):
            load_uploaded_model(path, name)
    assert not marker.exists()
