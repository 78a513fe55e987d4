"""Encodings of AIMET, by files written by hand after its specification, and there and back."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model_io.encodings.aimet_read import Encodings, read_aimet_encodings
from model_io.encodings.aimet_write import version_notes, write_aimet_encodings
from model_io.encodings.tensor_encoding import (
    FileEncoding,
    file_encoding_of,
    float_tensor_record,
    simulated_activation_encoding,
    simulated_weight_encoding,
)
from model_io.errors import ModelError
from quant.encoding import Encoding, encode_range
from quant.ranges.estimators import encode_weight
from quant.spec import Granularity, QuantSpec

NEW: dict[str, Any] = {
    "producer": {"package": "aimet-onnx", "version": "2.31.0"},
    "version": "2.0.0",
    "encodings": [
        {"name": "act", "y_scale": 0.01, "y_zero_point": 41, "output_dtype": "uint8"},
        {"name": "sym", "y_scale": 0.02, "y_zero_point": 128, "output_dtype": "uint8"},
        {"name": "w", "y_scale": [0.01, 0.02, 0.03], "axis": 0, "output_dtype": "int8"},
        {
            "name": "w4", "y_scale": [[0.01, 0.02], [0.03, 0.04], [0.05, 0.06]], "axis": 1,
            "block_size": 32, "output_dtype": "int4",
        },
        {
            "name": "lpbq", "per_block_int_scale": [[1, 16], [8, 4]], "output_dtype": "int4",
            "per_channel_float_scale": [[0.5], [0.25]], "axis": 1, "block_size": 64,
        },
        {"name": "beta", "per_block_int_scale": [[1, 16]], "output_dtype": "int8",
         "per_channel_float_scale": [0.5], "axis": 1, "block_size": 4, "y_zero_point": None},
        {"name": "nulls", "y_scale": 0.5, "y_zero_point": None, "axis": None, "block_size": None,
         "output_dtype": "int16"},
        {"name": "bias", "y_scale": [0.1, 0.2], "axis": 0, "output_dtype": "int32"},
        {"name": "half", "y_scale": 0.5, "y_zero_point": -0.5, "output_dtype": "int2"},
        {"name": "tiny", "y_scale": 0.5, "output_dtype": "float8e4m3fn"},
    ],
}  # fmt: skip
LISTS: dict[str, Any] = {
    "version": "1.0.0",
    "producer": {"package": "aimet-torch", "version": "2.0"},
    "activation_encodings": [
        {"name": "act", "enc_type": "PER_TENSOR", "dtype": "INT", "bw": 8, "is_sym": False,
         "scale": [0.01], "offset": [-41]},
        {"name": "sym", "enc_type": "PER_TENSOR", "dtype": "INT", "bw": 8, "is_sym": True,
         "scale": [0.02], "offset": [-128]},
        {"name": "relu", "enc_type": "PER_TENSOR", "dtype": "INT", "bw": 8, "is_sym": True,
         "scale": [0.02], "offset": [0]},
        {"name": "half", "enc_type": "PER_TENSOR", "dtype": "FLOAT", "bw": 16},
    ],
    "param_encodings": [
        {"name": "w", "enc_type": "PER_CHANNEL", "dtype": "INT", "bw": 3, "is_sym": True,
         "scale": [0.01, 0.02, 0.03], "offset": [-4, -4, -4]},
        {"name": "w4", "enc_type": "PER_BLOCK", "dtype": "INT", "bw": 4, "is_sym": True,
         "scale": [0.01, 0.02, 0.03, 0.04], "offset": [-8, -8, -8, -8], "block_size": 32},
        {"name": "lpbq", "enc_type": "LPBQ", "dtype": "INT", "bw": 8, "is_sym": True,
         "scale": [0.5, 0.25], "offset": [-128, -128], "block_size": 64, "compressed_bw": 4,
         "per_block_int_scale": [1, 16, 8, 4]},
        {"name": "shifted", "enc_type": "PER_TENSOR", "dtype": "INT", "bw": 2, "is_sym": True,
         "scale": [0.5], "offset": [-2], "zero_point_shift": [0.5]},
    ],
    "quantizer_args": {"activation_bitwidth": 8, "param_bitwidth": 4},
    "excluded_layers": [],
}  # fmt: skip
TABLES: dict[str, Any] = {
    "version": "0.6.1",
    "activation_encodings": {
        "act": [{"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "min": -0.41,
                 "max": 2.14, "scale": 0.01, "offset": -41}],
        "limits": [{"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "min": -1.0,
                    "max": 4.1}],
        "stays": [{"bitwidth": 16, "dtype": "float"}],
    },
    "param_encodings": {
        "w": [
            {"bitwidth": 8, "dtype": "int", "is_symmetric": "True", "min": -128 * s,
             "max": 127 * s, "scale": s, "offset": -128}
            for s in (0.01, 0.02)
        ]
    },
}  # fmt: skip


def read(raw: Any) -> dict[str, FileEncoding]:
    found = read_aimet_encodings(json.dumps(raw), "file.encodings")
    return {encoding.tensor: encoding for encoding in found.encodings}


def f32(*values: float) -> tuple[float, ...]:
    return tuple(np.array(values, np.float32).astype(float).tolist())


def test_every_record_of_version_2() -> None:
    got = read(NEW)
    assert read_aimet_encodings(json.dumps(NEW), "x").version == "2.0.0"
    act = got["act"]
    assert (act.bits, act.signed, act.symmetric, act.zero_point) == (8, False, False, (41,))
    assert act.scale == f32(0.01)
    assert act.parameter is None
    # a symmetric activation comes without a sign, its zero in the middle
    sym = got["sym"]
    assert (sym.signed, sym.symmetric, sym.zero_point) == (True, True, (0,))
    w = got["w"]
    assert (w.scale_granularity, w.axis, w.shape) == (Granularity.PER_CHANNEL, 0, (3,))
    assert w.scale == f32(0.01, 0.02, 0.03)
    w4 = got["w4"]
    assert (w4.scale_granularity, w4.axis, w4.block_size) == (Granularity.PER_GROUP, 1, 32)
    assert (w4.bits, w4.shape) == (4, (3, 2))
    assert got["lpbq"].scale == (0.5, 8.0, 2.0, 1.0)
    assert got["lpbq"].bits == got["beta"].bits == 4
    assert got["beta"].scale == (0.5, 8.0)
    nulls = got["nulls"]
    assert (nulls.bits, nulls.symmetric, nulls.axis, nulls.zero_point) == (16, True, None, (0,))
    assert (got["bias"].bits, got["bias"].shape) == (32, (2,))
    assert "part of a step" in got["half"].problem
    assert "whole numbers" in got["tiny"].problem


def test_every_record_of_version_1() -> None:
    got = read(LISTS)
    assert (got["act"].zero_point, got["act"].symmetric, got["act"].parameter) == (
        (41,),
        False,
        False,
    )
    assert (got["sym"].signed, got["sym"].zero_point) == (True, (0,))
    assert (got["relu"].signed, got["relu"].symmetric, got["relu"].zero_point) == (
        False,
        True,
        (0,),
    )
    assert got["half"].floating
    w = got["w"]
    assert (w.bits, w.signed, w.zero_point, w.axis) == (3, True, (0, 0, 0), None)
    assert w.scale_granularity is Granularity.PER_CHANNEL
    assert (got["w4"].scale_granularity, got["w4"].block_size) == (Granularity.PER_GROUP, 32)
    assert got["lpbq"].bits == 4
    assert got["lpbq"].scale == (0.5, 8.0, 2.0, 1.0)
    assert got["lpbq"].code_limits == (-8, 7)
    assert got["shifted"].problem


def test_every_record_of_version_0() -> None:
    got = read(TABLES)
    assert (got["act"].scale, got["act"].zero_point) == (f32(0.01), (41,))
    assert (got["limits"].scale, got["limits"].zero_point) == (f32(0.02), (50,))
    assert got["stays"].floating
    assert (got["w"].shape, got["w"].signed, got["w"].zero_point) == ((2,), True, (0, 0))
    assert got["w"].parameter is True


@pytest.mark.parametrize(
    ("raw", "version"),
    [
        ({"param_encodings": {}}, "0.6.1"),
        (TABLES["param_encodings"], "0.6.1"),
        (LISTS["param_encodings"], "1.0.0"),
        ({"param_encodings": [], "activation_encodings": []}, "1.0.0"),
        (NEW["encodings"], "2.0.0"),
        ({**NEW, "version": "2.0.0.beta"}, "2.0.0"),
    ],
)
def test_a_file_without_a_version_is_known_by_its_shape(raw: Any, version: str) -> None:
    assert read_aimet_encodings(json.dumps(raw), "x").version == version


def changed(raw: dict[str, Any], section: str, **change: Any) -> dict[str, Any]:
    """Return a file of one record, the first of a section with these changes."""
    first = {**raw[section][0], **change}
    return {**{key: raw[key] for key in ("version",)}, section: [first]}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"version": "3.0.0"}, "2.0.0, 1.0.0 or 0.6.1"),
        (changed(NEW, "encodings", y_scale=-1), "positive"),
        (changed(NEW, "encodings", y_scale=[[1], [1, 2]]), "finite numbers"),
        (changed(NEW, "encodings", y_scale="nan"), "finite numbers"),
        (changed(NEW, "encodings", y_scale=[0.1, 0.2]), "an axis"),
        (changed(NEW, "encodings", y_zero_point=[1, 2, 3]), "as many zero points"),
        (changed(NEW, "encodings", output_dtype="int64"), "integer type"),
        (changed(NEW, "encodings", name=7), "a name"),
        (changed(NEW, "encodings", block_size=0), "block_size"),
        (changed(LISTS, "activation_encodings", bw=1), "bw"),
        (changed(LISTS, "activation_encodings", scale=[0.1, 0.2]), "one scale"),
        (changed(LISTS, "activation_encodings", enc_type="OTHER"), "PER_TENSOR"),
        ({"version": "2.0.0", "encodings": {}}, "list of records"),
        ({"version": "0.6.1", "param_encodings": [1]}, "an object"),
        ({"version": "0.6.1", "param_encodings": {"w": [3]}}, "list of records"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(raw: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read_aimet_encodings(json.dumps(raw), "file.encodings")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{", "3", '"x"', "[]", "{}", "\x00", '{"encodings": [NaN]}']
)
def test_no_json_no_harm(text: str) -> None:
    with pytest.raises(ModelError):
        read_aimet_encodings(text, "file.encodings")


def network(bits: int) -> list[FileEncoding]:
    """Return grids of every kind, of random float32 scales, as the simulation makes them."""
    torch.manual_seed(bits)
    made = []
    for symmetric in (True, False):
        kind = "sym" if symmetric else "asym"
        spec = QuantSpec(bits, symmetric=symmetric)
        for name, low in (("signed", -1.3), ("unsigned", 0.0)):
            ends = torch.tensor(low), torch.rand(()) * 7
            made.append(file_encoding_of(f"{kind} {name}", encode_range(*ends, spec), spec))
        for granularity in Granularity:
            for shape, axis in (((6, 70), 0), ((5, 40, 3, 3), 0), ((40, 5, 3, 3), 1)):
                own = QuantSpec(bits, symmetric, granularity, group_size=32)
                encoding = encode_weight(torch.randn(shape), own, axis)
                name = f"{kind} weight {granularity} {shape}"
                made.append(file_encoding_of(name, encoding, own, axis))
    return [*made, float_tensor_record("float", parameter=False)]


@pytest.mark.parametrize("bits", range(2, 17))
def test_version_1_comes_back_as_it_went(bits: int) -> None:
    sent = network(bits)
    assert version_notes(sent, "1.0.0") == ()
    got = {encoding.tensor: encoding for encoding in back(sent, "1.0.0").encodings}
    for encoding in sent:
        flat = got[encoding.tensor]
        # axes are not in the file: scales go by output channel
        assert replace(flat, axis=encoding.axis, shape=encoding.shape) == replace(
            encoding, scale=flat.scale, zero_point=flat.zero_point
        )
        assert sorted(flat.scale) == sorted(encoding.scale)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_version_2_comes_back_as_it_went(bits: int) -> None:
    sent = network(bits)
    assert version_notes(sent[:-1], "2.0.0") == ()
    got = {encoding.tensor: encoding for encoding in back(sent, "2.0.0").encodings}
    assert set(got) == {encoding.tensor for encoding in sent if not encoding.floating}
    for encoding in sent[:-1]:
        found = got[encoding.tensor]
        assert found.scale == encoding.scale, "every float32 is the same to the bit"
        assert (found.shape, found.axis, found.block_size) == (
            encoding.shape, encoding.axis, encoding.block_size,
        )  # fmt: skip
        # symmetric is not in the file: a zero in the middle means it
        low, high = limits(found)
        assert (low, high) == limits(encoding)


def limits(encoding: FileEncoding) -> tuple[list[int], list[int]]:
    """Return what matters of integers: the distance of both ends from zero."""
    least, most = encoding.code_limits
    return [least - z for z in encoding.zero_point], [most - z for z in encoding.zero_point]


@pytest.mark.parametrize(("bits", "held"), [(3, 4), (5, 8), (6, 8), (7, 8), (9, 16), (12, 16)])
def test_widths_without_a_type_keep_their_steps_in_the_next_one(bits: int, held: int) -> None:
    sent = network(bits)
    (note, floats) = version_notes(sent, "2.0.0")
    assert f"{len(sent) - 1} tensors of {bits} bits" in note
    assert f"of {held} bits" in note
    assert "1 tensors stay float" in floats
    got = {encoding.tensor: encoding for encoding in back(sent, "2.0.0").encodings}
    for encoding in sent[:-1]:
        found = got[encoding.tensor]
        assert (found.bits, found.scale) == (held, encoding.scale)
        if not encoding.symmetric:
            assert [-z for z in encoding.zero_point] == limits(found)[0] or found.symmetric


def back(encodings: list[FileEncoding], version: str) -> Encodings:
    return read_aimet_encodings(write_aimet_encodings(encodings, version), "back.encodings")


def test_activations_go_out_without_a_sign_and_parameters_keep_theirs() -> None:
    spec = QuantSpec(8, symmetric=True)
    encoding = encode_range(torch.tensor(-1.0), torch.tensor(1.0), spec)
    made = [file_encoding_of("act", encoding, spec), file_encoding_of("w", encoding, spec, 0)]
    act, w = json.loads(write_aimet_encodings(made))["encodings"]
    assert (act["output_dtype"], act["y_zero_point"]) == ("uint8", 128)
    assert w == {"name": "w", "output_dtype": "int8", "y_scale": float(encoding.scale)}
    lists = json.loads(write_aimet_encodings(made, "1.0.0"))
    for (record,) in (lists["activation_encodings"], lists["param_encodings"]):
        assert record["offset"] == [-128]
        assert record["is_sym"] is True
        assert (record["bw"], record["dtype"], record["enc_type"]) == (8, "INT", "PER_TENSOR")
    assert set(lists) == {
        "producer", "version", "activation_encodings", "param_encodings", "quantizer_args",
        "excluded_layers",
    }  # fmt: skip


@pytest.mark.parametrize("version", ["2.0.0", "1.0.0"])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("granularity", list(Granularity))
def test_a_weight_has_the_same_grid_again(
    version: str, flipped: bool, granularity: Granularity
) -> None:
    weight = torch.randn(6, 70)
    spec = QuantSpec(4, symmetric=False, granularity=granularity, group_size=32)
    sent = encode_weight(weight, spec, 0)
    (encoding,) = back([file_encoding_of("w", sent, spec, 0, flipped=flipped)], version).encodings
    told = flipped if version == "2.0.0" else False
    for known in (told, None):
        same(sent, simulated_weight_encoding(encoding, (6, 70), 0, flipped=known))


@pytest.mark.parametrize(("shape", "axis"), [((5, 40, 3, 3), 0), ((40, 5, 3, 3), 1)])
@pytest.mark.parametrize("version", ["2.0.0", "1.0.0"])
@pytest.mark.parametrize("granularity", list(Granularity))
def test_a_kernel_has_the_same_grid_again(
    shape: tuple[int, ...], axis: int, version: str, granularity: Granularity
) -> None:
    spec = QuantSpec(8, granularity=granularity, group_size=16)
    sent = encode_weight(torch.randn(shape), spec, axis)
    (encoding,) = back([file_encoding_of("w", sent, spec, axis)], version).encodings
    same(sent, simulated_weight_encoding(encoding, shape, axis))


def same(first: Encoding, second: Encoding) -> None:
    assert (first.qmin, first.qmax) == (second.qmin, second.qmax)
    assert first.scale.shape == second.scale.shape
    assert torch.equal(first.scale, second.scale)
    assert torch.equal(first.zero_point.expand_as(second.zero_point), second.zero_point)


def test_an_activation_has_the_same_grid_again() -> None:
    for encoding in read(LISTS).values():
        if encoding.parameter or encoding.floating:
            continue
        found = simulated_activation_encoding(encoding)
        assert float(found.scale) == encoding.scale[0]
        assert (found.qmin, found.qmax) == encoding.code_limits


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("w", (4, 9), "each of 4 channels, got 3"),
        ("w", (2, 3), "each of 2 channels, got 3"),
        ("w4", (3, 96), "3 x 3 scales"),
        ("half", (3, 3), "part of a step"),
    ],
)
def test_grids_that_do_not_fit_the_weight(name: str, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        simulated_weight_encoding(read(NEW)[name], shape, 0, flipped=False)


def test_a_scale_for_each_input_channel_is_no_grid_here() -> None:
    encoding = replace(read(NEW)["w"], axis=1)
    with pytest.raises(ModelError, match="along axis 0"):
        simulated_weight_encoding(encoding, (3, 3), 0, flipped=False)
    with pytest.raises(ModelError, match="one scale"):
        simulated_activation_encoding(encoding)
