"""A file's own grids reach the simulation, which then agrees with the file as it runs."""

import logging
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import ModelProto, save
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from torch import Tensor

from analysis.evaluation.measures import sqnr_db
from model_io.encodings.aimet_read import read_aimet_encodings
from model_io.encodings.aimet_write import write_aimet_encodings
from model_io.encodings.apply_to_network import (
    apply_file_encodings,
    encoding_targets_by_tensor,
    file_knowledge,
)
from model_io.encodings.tensor_encoding import FileEncoding, file_encoding_of, float_tensor_record
from model_io.errors import ModelError
from model_io.load import load_model
from model_io.loaded_model import LoadedModel
from model_io.onnx_import.reading.remove_qdq import NARROW_KEY
from model_io.qdq_export.weights import WeightStyle
from quant.config import QuantConfig, uniform_config
from quant.file_encodings import Given
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.operators import Kind
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.passes.use_encodings import UseEncodings
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import Granularity
from tests.model_io.onnx_files import Array, model, node, saved, weight
from tests.model_io.qdq_cases import exported, inputs_of
from tests.model_io.qdq_cases import simulated as simulated_of
from tests.networks import CASES, graph_of

# each network once, both granularities of weights in turn
AGREEING = (
    ("plain", False), ("kitchen", True), ("kitchen", False), ("gated", True), ("grouped", False),
    ("perceptron", True), ("fashion-mobilenet", True),
)  # fmt: skip


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        torch.manual_seed(5)
        self.name = name
        self.left = [torch.randn(4, *shape).numpy() for _ in range(4)]

    def get_next(self) -> dict[str, Array] | None:
        return {self.name: self.left.pop()} if self.left else None


@cache
def written_by_torch(name: str) -> bytes:
    """Return the float network as torch writes it; once for all tests."""
    graph = graph_of(name)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "float.onnx"
        torch.onnx.export(
            graph.module,
            (torch.zeros(2, *graph.input_shape),),
            path,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            verbose=False,
            input_names=["x"],
            external_data=False,
        )
        return path.read_bytes()


def quantized_file(name: str, folder: Path, **more: Any) -> Path:
    """Return a network that ONNX Runtime's own tool quantized."""
    source, target = folder / "float.onnx", folder / "int8.onnx"
    source.write_bytes(written_by_torch(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(
            source, target, Reader("x", CASES[name].shape), quant_format=QuantFormat.QDQ, **more
        )
    return target


def known(loaded: LoadedModel) -> tuple[FloatGraph, Given]:
    graph = FoldBatchNorm()(capture_graph(loaded.module, loaded.input_shape, loaded.batch))
    _, given = file_knowledge(loaded, graph)
    assert given is not None
    return graph, given


def simulated(graph: FloatGraph, given: Given) -> QuantGraph:
    """Return the simulation with the file's grids; what it does not cover is float."""
    result = quantize_graph(graph, given.config)
    used = UseEncodings(given.encodings, given.source).apply_at_once(result)
    assert not used.kept
    assert set(used.used) == set(given.encodings)
    return result


def run(path: Path, inputs: Tensor) -> Tensor:
    """Return what ONNX Runtime computes, without turning quantizers into other kernels."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    return torch.from_numpy(result)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "per_channel"), AGREEING)
def test_the_simulation_agrees_with_the_quantized_file(
    name: str, per_channel: bool, tmp_path: Path
) -> None:
    path = quantized_file(
        name, tmp_path, per_channel=per_channel, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )  # fmt: skip
    graph, given = known(load_model(path))
    inputs = CASES[name].inputs(64)
    made = simulated(graph, given)
    with torch.inference_mode():
        simulation, unquantized = made(inputs), graph(inputs)
    real = run(path, inputs)
    # far closer to the file than quantization is to float
    assert sqnr_db(real, simulation) > max(34.0, sqnr_db(real, unquantized) + 5)
    assert (simulation.argmax(-1) == real.argmax(-1)).double().mean() >= 63 / 64


def pair_inside_file(folder: Path) -> Path:
    """Return a file with a pair between a convolution and its ReLU."""
    nodes = [
        node("QuantizeLinear", ["x", "sx", "z8"], "xq"),
        node("DequantizeLinear", ["xq", "sx", "z8"], "xd"),
        node("QuantizeLinear", ["w", "s", "z"], "wq", axis=0),
        node("DequantizeLinear", ["wq", "s", "z"], "wd", axis=0),
        node("Conv", ["xd", "wd"], "c", "conv"),
        node("QuantizeLinear", ["c", "sc", "z8"], "cq"),
        node("DequantizeLinear", ["cq", "sc", "z8"], "cd"),
        node("Relu", ["cd"], "m", "relu"),
        node("QuantizeLinear", ["m", "sx", "z8"], "mq"),
        node("DequantizeLinear", ["mq", "sx", "z8"], "y"),
    ]
    held: dict[str, Array] = {
        "w": weight(4, 3, 1, 1),
        "s": np.full(4, 0.02, np.float32),
        "z": np.zeros(4, np.int8),
        "sx": np.array(0.04, np.float32),
        "sc": np.array(0.03, np.float32),
        "z8": np.array(120, np.uint8),
    }
    return saved(folder / "inside.onnx", model(nodes, ["n", 3, 4, 4], held))


def test_grids_inside_what_is_one_layer_here_are_told(tmp_path: Path) -> None:
    path = pair_inside_file(tmp_path)
    graph, given = known(load_model(path))
    assert any("inside a layer" in reason for reason in given.unused.values())
    inputs = torch.randn(64, 3, 4, 4)
    made = simulated(graph, given)
    with torch.inference_mode():
        simulation = made(inputs)
    assert sqnr_db(run(path, inputs), simulation) > 28


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("types", "bits"),
    [
        ({"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}, (8, 8)),
        ({"activation_type": QuantType.QUInt16, "weight_type": QuantType.QInt8}, (8, 16)),
        ({"activation_type": QuantType.QInt16, "weight_type": QuantType.QInt16}, (16, 16)),
    ],
)
def test_every_width_of_the_tool(types: dict[str, Any], bits: Any, tmp_path: Path) -> None:
    path = quantized_file("kitchen", tmp_path, **types)
    graph, given = known(load_model(path))
    default = given.config.default
    assert (default.weight.bits, default.activation.bits) == bits
    inputs = CASES["kitchen"].inputs(32)
    made = simulated(graph, given)
    with torch.inference_mode():
        simulation = made(inputs)
    assert sqnr_db(run(path, inputs), simulation) > 40


@pytest.mark.filterwarnings("ignore")
def test_a_file_makes_few_rules(tmp_path: Path) -> None:
    path = quantized_file("fashion-mobilenet", tmp_path, per_channel=True)
    graph, given = known(load_model(path))
    assert given.config.default.weight.granularity is Granularity.PER_CHANNEL
    assert given.config.default.activation.bits == 8
    assert len(given.config.rules) <= len(graph.layers) // 4
    assert given.config.resolve_layers(graph.layers)  # every rule matches
    assert not given.unused
    assert given.exact > 0  # biases


def batch_norm_file(folder: Path) -> Path:
    """Return a file whose quantized kernel stands before a batch norm."""
    pair = ["s", "z"]
    nodes = [
        node("QuantizeLinear", ["x", "sx", "z8"], "xq"),
        node("DequantizeLinear", ["xq", "sx", "z8"], "xd"),
        node("QuantizeLinear", ["w", *pair], "wq", axis=0),
        node("DequantizeLinear", ["wq", *pair], "wd", axis=0),
        node("Conv", ["xd", "wd"], "c", "conv"),
        node("BatchNormalization", ["c", "g", "b", "m", "v"], "n", "norm"),
        node("QuantizeLinear", ["n", "sx", "z8"], "nq"),
        node("DequantizeLinear", ["nq", "sx", "z8"], "nd"),
        node("Softmax", ["nd"], "y", "soft", axis=1),
    ]
    ones = np.ones(4, np.float32)
    held: dict[str, Array] = {
        "w": weight(4, 3, 1, 1), "s": np.full(4, 0.02, np.float32), "z": np.zeros(4, np.int8),
        "sx": np.array(0.05, np.float32), "z8": np.array(120, np.uint8), "g": 2 * ones,
        "b": ones, "m": 0 * ones, "v": ones,
    }  # fmt: skip
    return saved(folder / "norm.onnx", model(nodes, ["n", 3, 4, 4], held))


def test_what_the_file_does_not_cover_is_float_and_listed(tmp_path: Path) -> None:
    graph, given = known(load_model(batch_norm_file(tmp_path)))
    chosen = given.config.resolve_layers(graph.layers)
    # the batch norm's result is now the convolution's, and its kernel another one
    assert set(given.encodings) == {"input", "conv"}
    assert given.unused == {"w": "a batch norm behind it was folded into it"}
    assert given.uncovered == ("conv weight", "soft")
    assert chosen["conv"].weight.is_float
    assert not chosen["conv"].activation.is_float
    assert chosen["soft"].activation.is_float
    text = " ".join(given.sentences())
    assert "left float: conv weight; soft" in text
    assert "since a batch norm behind it was folded into it: w." in text


def matmul_file(folder: Path) -> Path:
    """Return a float file of MatMul, which holds its matrix the other way round."""
    nodes = [
        node("MatMul", ["x", "w"], "h", "first"), node("Relu", ["h"], "r", "relu"),
        node("Flatten", ["r"], "f", "flat"), node("Gemm", ["f", "v"], "y", "second"),
    ]  # fmt: skip
    return saved(
        folder / "net.onnx", model(nodes, ["n", 6], {"w": weight(6, 5), "v": weight(5, 3)})
    )


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "y_scale": 0.1, "output_dtype": "uint8", **fields}


def test_encodings_by_the_names_of_the_file(tmp_path: Path) -> None:
    loaded = load_model(matmul_file(tmp_path))
    graph = capture_graph(loaded.module, loaded.input_shape)
    targets, nothing = file_knowledge(loaded, graph)
    assert nothing is None
    scales = [0.1, 0.2, 0.3, 0.4, 0.5]
    records = [
        record("x", y_zero_point=7), record("r"), record("f"), record("h"), record("other"),
        record("w", y_scale=scales, axis=1, output_dtype="int4"),
    ]  # fmt: skip
    text = write_records(records)
    given = apply_file_encodings(
        read_aimet_encodings(text, "e").encodings, graph, targets, "e.encodings"
    )
    assert set(given.encodings) == {"input", "first", "first weight"}
    assert given.encodings["first weight"].scale.flatten().tolist() == pytest.approx(scales)
    assert given.encodings["first weight"].scale.shape == (5, 1)
    assert set(given.unused) == {"h", "other"}
    assert "inside a layer" in given.unused["h"]
    assert given.uncovered == ("second weight", "second")
    assert given.config.resolve_layers(graph.layers)["first"].weight.bits == 4
    # what passes a grid on agrees with it, or is told
    other = apply_file_encodings(
        read_aimet_encodings(
            write_records([*records[:2], record("f", y_scale=0.7)]), "e"
        ).encodings,
        graph,
        targets,
        "e",
    )
    assert "another encoding" in other.unused["f"]


def write_records(records: list[dict[str, Any]]) -> str:
    import json

    return json.dumps({"version": "2.0.0", "encodings": records})


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    loaded = load_model(matmul_file(tmp_path))
    graph = capture_graph(loaded.module, loaded.input_shape)
    found = read_aimet_encodings(write_records([record("nobody")]), "e").encodings
    with pytest.raises(ModelError, match="'nobody'"):
        apply_file_encodings(
            found, graph, encoding_targets_by_tensor(graph, loaded.places), "e.encodings"
        )


def all_encodings(simulation: QuantGraph) -> list[FileEncoding]:
    """Return the grids of a simulation under our own names, as an export writes them."""
    found = []
    for site in simulation.sites:
        encoding = simulation.quantizers[site.name].encoding
        is_weight = site.side is Side.WEIGHTS
        layer = simulation.graph[site.layer]
        name = str(layer.weight) if is_weight else site.name
        axis = layer.channel_axis if is_weight else None
        found.append(
            float_tensor_record(name, parameter=is_weight)
            if encoding is None
            else file_encoding_of(name, encoding, site.spec, axis)
        )
    return found


@pytest.mark.parametrize("version", ["2.0.0", "1.0.0"])
@pytest.mark.parametrize("name", ["kitchen", "transposed", "attention", "fashion-mobilenet"])
def test_our_own_encodings_give_the_same_simulation_again(name: str, version: str) -> None:
    graph = graph_of(name)
    inputs = CASES[name].inputs(16)
    config = (
        uniform_config(4, 8, Granularity.PER_GROUP) if name == "kitchen" else uniform_config(8, 8)
    )
    config = config.with_layer_change(graph.layers[-1].name, activation=replace_bits(16))
    sent = quantize_graph(graph, config, drain_steps(Calibrate(16)(graph, [inputs])))
    text = write_aimet_encodings(all_encodings(sent), version)
    given = apply_file_encodings(
        read_aimet_encodings(text, "e").encodings, graph, encoding_targets_by_tensor(graph, {}), "e"
    )
    assert not given.unused
    assert not given.uncovered
    made = simulated(graph, given)
    with torch.inference_mode():
        assert torch.equal(made(inputs), sent(inputs))
    before, after = config.resolve_layers(graph.layers), given.config.resolve_layers(graph.layers)
    for layer in graph.layers:
        for role in ("weight", "activation"):
            if role == "weight" and layer.weight is None:
                continue
            old, new = getattr(before[layer.name], role), getattr(after[layer.name], role)
            shared = layer.kind is Kind.AVERAGE_POOL
            assert shared or (old.bits, old.granularity) == (new.bits, new.granularity)


def replace_bits(bits: int) -> Any:
    from quant.spec import SpecChange

    return SpecChange(bits=bits)


def test_layers_that_were_edited_keep_their_calibrated_grid() -> None:
    graph = graph_of("kitchen")
    inputs = CASES["kitchen"].inputs(16)
    calibration = drain_steps(Calibrate(16)(graph, [inputs]))
    sent = quantize_graph(graph, uniform_config(8, 8), calibration)
    given = {name: found.encoding for name, found in sent.quantizers.items() if found.encoding}
    doubled = {name: replace(e, scale=e.scale * 2) for name, e in given.items()}
    edited = uniform_config(8, 8).with_layer_change("conv1", replace_bits(4), replace_bits(32))
    result = quantize_graph(graph, edited, calibration)
    own = {name: found.encoding for name, found in result.quantizers.items()}
    used = UseEncodings(doubled, "test").apply_at_once(result)
    assert used.kept == {
        "conv1 weight": "the configuration has 4 bits, the given encoding 8",
        "conv1": "the configuration leaves it float",
    }
    for name, found in result.quantizers.items():
        if name in used.kept:
            assert found.encoding is own[name]
        else:
            assert found.encoding is doubled[name]


def test_a_site_that_shares_a_grid_follows_the_given_one() -> None:
    graph = graph_of("kitchen")
    result = quantize_graph(
        graph, uniform_config(8, 8), drain_steps(Calibrate(4)(graph, [CASES["kitchen"].inputs(4)]))
    )
    site = next(site for site in result.sites if site.shared_with)
    source = result.quantizers[str(site.shared_with)].encoding
    assert source is not None
    wide = replace(source, scale=source.scale * 3)
    UseEncodings({str(site.shared_with): wide}).apply_at_once(result)
    assert result.quantizers[site.name].encoding is wide


def test_a_configuration_of_one_kind_of_layer_has_no_rules() -> None:
    graph = graph_of("plain")
    sent = quantize_graph(
        graph, QuantConfig(), drain_steps(Calibrate(4)(graph, [CASES["plain"].inputs(4)]))
    )
    given = apply_file_encodings(
        all_encodings(sent), graph, encoding_targets_by_tensor(graph, {}), "e"
    )
    assert given.config.rules == ()


@pytest.mark.parametrize(
    ("name", "widths", "style"),
    [
        ("plain", (6, 6), WeightStyle.INTEGER), ("plain", (3, 5), WeightStyle.FLOAT),
        ("kitchen", (8, 8), WeightStyle.FLOAT), ("kitchen", (3, 5), WeightStyle.INTEGER),
        ("kitchen", (6, 6), WeightStyle.FLOAT), ("plain", (8, 8), WeightStyle.INTEGER),
        ("fashion-mobilenet", (6, 5), WeightStyle.INTEGER),
    ],
)  # fmt: skip
def test_widths_of_our_own_file_come_back(
    name: str, widths: tuple[int, int], style: WeightStyle, tmp_path: Path
) -> None:
    graph, inputs = simulated_of(name, *widths).graph, inputs_of(name)
    path = tmp_path / "sent.onnx"
    save(exported(name, *widths, style=style).model, path)
    again, given = known(load_model(path))
    assert {layer.name for layer in again.layers} == {layer.name for layer in graph.layers}
    for layer in again.layers:
        found = given.config.resolve_layers(again.layers)[layer.name]
        assert found.activation.bits == widths[1]
        assert layer.weight is None or found.weight.bits == widths[0]
    made = simulated(again, given)
    with torch.inference_mode():
        simulation = made(inputs)
    assert sqnr_db(run(path, inputs), simulation) > 30


@cache
def config_of_the_plain_file() -> QuantConfig:
    with TemporaryDirectory() as folder:
        save(exported("plain", 8, 8).model, Path(folder) / "sent.onnx")
        return known(load_model(Path(folder) / "sent.onnx"))[1].config


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "{", '{"x": 3}', '{"x": [5, "a"]}', '{"x": [9, 3]}', '{"x": [0, 1]}',
     '{"x": [0, Infinity]}', '{"x": [0, 99999999999999999999]}', "[" * 100_000],
)  # fmt: skip
def test_metadata_that_are_not_ours_say_nothing(text: str, tmp_path: Path) -> None:
    made = ModelProto()
    made.CopyFrom(exported("plain", 8, 8).model)
    entry = made.metadata_props.add()
    entry.key, entry.value = NARROW_KEY, text.replace("x", "input")
    save(made, tmp_path / "sent.onnx")
    _, given = known(load_model(tmp_path / "sent.onnx"))
    assert given.config.default.activation.bits == 8
    assert given.config == config_of_the_plain_file()
