"""Files with Q/DQ pairs: what ONNX Runtime computes of them, beside the simulation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from data_io.bundled import fashion_test_set, fashion_train_part
from model_io.errors import ModelError
from model_io.onnx_import.load_onnx import load_onnx_network
from model_io.onnx_import.reading.remove_qdq import NARROW_KEY
from model_io.qdq_export.export_qdq import QdqOnnx, _check_file, export_qdq_onnx
from model_io.qdq_export.int32_biases import bias_scale, raise_weight_scales
from model_io.qdq_export.simulate_file import simulate_written_file
from model_io.qdq_export.stored_encoding import store_activation
from model_io.qdq_export.weights import WeightStyle
from model_io.runtime.onnx_runtime import RuntimeSession, executed_operators
from quant.config import QuantConfig, uniform_config
from quant.encoding import Encoding
from quant.graph.capture import capture_graph
from quant.inputs import Input, first_output_of
from quant.passes.calibrate import Calibrate
from quant.passes.fold_batch_norm import FoldBatchNorm
from quant.progress import drain_steps
from quant.simulation.plan import Side, plan_sites
from quant.simulation.quant_graph import QuantGraph, quantize_graph
from quant.spec import Granularity, ScaleKind, SpecChange
from tests.model_io.qdq_cases import calibrated, config, exported, inputs_of, simulated
from tests.networks import SMALL, graph_of
from tests.networks_kinds import Written
from tests.sample_networks import sample_network

# Older processors add pairs of products of 8 bits in 16, and a sum that is too large is cut off.
MULTIPLIES_EXACTLY = any(
    torch.cpu.get_capabilities().get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8")
)
GROUPS, TENSOR = Granularity.PER_GROUP, Granularity.PER_TENSOR
WIDTHS = (
    (8, 8, Granularity.PER_CHANNEL),
    (4, 4, Granularity.PER_CHANNEL),
    (3, 2, Granularity.PER_CHANNEL),
    (6, 6, TENSOR),
    (16, 16, Granularity.PER_CHANNEL),
    (4, 8, GROUPS),
    (2, 12, GROUPS),
    (8, 32, Granularity.PER_CHANNEL),
)


def steps_apart(graph: QuantGraph, got: Tensor, wanted: Tensor) -> Tensor:
    """Return how many steps of the output's grid lie between values; thousandths where float."""
    last = [site.name for site in graph.sites if site.side is Side.ACTIVATIONS][-1]
    encoding = graph.quantizers[last].encoding
    scale = 1e-3 * wanted.abs().max() if encoding is None else encoding.scale
    return ((got - wanted) / scale).round().abs()


def assert_agrees(
    graph: QuantGraph, session: RuntimeSession, inputs: Tensor, most: float = 3
) -> None:
    with torch.inference_mode():
        apart = steps_apart(graph, session(inputs), graph(inputs))
    # a sum in another order may fall on the other side of a half; that goes on to other layers
    assert float((apart > 0).double().mean()) <= 0.2
    assert float(apart.max()) <= most


# All networks at 8 bits, one at all widths, and two at every second of the others.
NETWORKS_AT = [
    *((name, WIDTHS[0]) for name in SMALL),
    *(("kitchen", widths) for widths in WIDTHS[1:]),
    *(("attention", widths) for widths in WIDTHS[1::2]),
    *(("transposed", widths) for widths in WIDTHS[2::2]),
]


@pytest.mark.parametrize(("name", "widths"), NETWORKS_AT)
def test_it_computes_what_the_simulation_computes(
    name: str, widths: tuple[int, int, Granularity]
) -> None:
    graph, made, inputs = simulated(name, *widths), exported(name, *widths), inputs_of(name)
    assert_agrees(
        simulate_written_file(graph, made), RuntimeSession(made.model, optimize=False), inputs
    )
    options = ort.SessionOptions()  # as anyone opens it
    options.log_severity_level = 4
    session = ort.InferenceSession(made.model.SerializeToString(), options)
    (got,) = session.run(None, {"input": inputs.numpy()})
    with torch.inference_mode():
        apart = steps_apart(graph, torch.tensor(got), graph(inputs))
    assert float(apart.max()) <= 6 or not MULTIPLIES_EXACTLY


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        *(("kitchen", widths) for widths in WIDTHS[1:6]),
        ("attention", WIDTHS[1]), ("attention", WIDTHS[3]),
        ("transposed", WIDTHS[2]), ("transposed", WIDTHS[4]),
    ],
)  # fmt: skip
def test_real_weights_behind_a_pair_are_the_same_network(
    name: str, widths: tuple[int, int, Granularity]
) -> None:
    inputs = inputs_of(name)
    files = [exported(name, *widths, style) for style in WeightStyle]
    first, second = (RuntimeSession(made.model, optimize=False)(inputs) for made in files)
    assert torch.equal(first, second)


def nodes_of(made: QdqOnnx, operator: str) -> dict[str, NodeProto]:
    return {node.name: node for node in made.model.graph.node if node.op_type == operator}


def held(made: QdqOnnx) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in made.model.graph.initializer}


class Tiny(nn.Module):
    """One convolution of 1 x 1 over two channels, written so that its grid is easy."""

    def __init__(self, weight: list[list[float]], bias: list[float]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, len(bias), 1)
        self.conv.weight.data = torch.tensor(weight)[:, :, None, None]
        self.conv.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x)
        return found


def encoding(scale: float | list[float], zero: float, qmin: int, qmax: int) -> Encoding:
    spread = torch.tensor(scale)
    if spread.dim():
        spread = spread[:, None, None, None]
    return Encoding(spread, torch.full_like(spread, zero), qmin, qmax)


def tiny(weight: Encoding, bias: tuple[float, float] = (0.5, -1.25), x_bits: int = 8) -> QuantGraph:
    """Return the convolution on grids chosen by hand."""
    graph = capture_graph(Tiny([[0.7, -0.8], [0.175, 0.1]], list(bias)).eval(), (2, 1, 1))
    made = QuantGraph(graph, plan_sites(graph, config(8, 8)))
    made.quantizers["input"].set_encoding(encoding(0.01, 100.0, 0, 2**x_bits - 1))
    made.quantizers["conv weight"].set_encoding(weight)
    made.quantizers["conv"].set_encoding(encoding(0.02, 64.0, 0, 127))
    return made


def test_every_byte_of_a_tiny_convolution() -> None:
    made = export_qdq_onnx(tiny(encoding([0.1, 0.025], 0.0, -8, 7)))
    tensors = held(made)
    weight = tensors["conv.weight_quantized"]
    assert (weight.data_type, tuple(weight.dims)) == (TensorProto.INT4, (2, 2, 1, 1))
    # 7 and -8, then 7 and 4: the first of two in the lower half of a byte
    assert weight.raw_data == bytes([0x87, 0x47])
    scale = tensors["conv.weight_scale"]
    assert scale.raw_data == np.array([0.1, 0.025], "<f4").tobytes()
    assert tensors["conv.weight_zero_point"].data_type == TensorProto.INT4
    bias = numpy_helper.to_array(tensors["conv.bias_quantized"])
    assert bias.dtype.name == "int32"
    assert bias.tolist() == [500, -5000]
    step = numpy_helper.to_array(tensors["conv.bias_scale"])
    np.testing.assert_allclose(step, [1e-3, 2.5e-4], rtol=1e-6)
    reals = nodes_of(made, "DequantizeLinear")
    axes = {name: [a.i for a in node.attribute if a.name == "axis"] for name, node in reals.items()}
    assert axes["conv.weight_DequantizeLinear"] == axes["conv.bias_DequantizeLinear"] == [0]
    assert numpy_helper.to_array(tensors["input_zero_point"]) == 100
    assert tensors["input_zero_point"].data_type == TensorProto.UINT8
    names = {node.op_type: list(node.input) for node in made.model.graph.node}
    assert names["Conv"] == [
        "input_DequantizeLinear_Output",
        "conv.weight_DequantizeLinear_Output",
        "conv.bias_DequantizeLinear_Output",
    ]
    assert [value.name for value in made.model.graph.output] == ["conv"]


def test_a_grid_of_seven_bits_keeps_to_its_limits_and_the_file_says_so() -> None:
    made = export_qdq_onnx(tiny(encoding([0.1, 0.025], 0.0, -8, 7)))
    tensors = held(made)
    assert tensors["conv_zero_point"].data_type == TensorProto.UINT8
    ends = [float(numpy_helper.to_array(tensors[f"conv_{end}"])) for end in ("low", "high")]
    np.testing.assert_allclose(ends, [-64 * 0.02, 63 * 0.02], rtol=1e-6)
    entry = {e.key: json.loads(e.value) for e in made.model.metadata_props}
    assert entry == {NARROW_KEY: {"conv": [0, 127]}}
    assert "narrower than the type" in made.model.doc_string
    session = RuntimeSession(made.model)
    far = torch.tensor([[1.55, -1.0]])[:, :, None, None]
    assert float(session(far)[0, 0]) == pytest.approx(63 * 0.02)


def test_a_block_has_one_scale_and_lies_along_the_input_channels() -> None:
    made = exported("kitchen", 4, 8, GROUPS)
    graph = simulated("kitchen", 4, 8, GROUPS)
    node = nodes_of(made, "DequantizeLinear")["conv2.weight_DequantizeLinear"]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert attributes == {"axis": 1, "block_size": 3}
    encoding = graph.quantizers["conv2 weight"].encoding
    assert encoding is not None
    scale = numpy_helper.to_array(held(made)["conv2.weight_scale"])
    assert scale.shape == (8, 3, 3, 3)  # 8 inputs in blocks of 3, 3 and 2
    assert np.array_equal(scale[:, :, 1, 2], encoding.scale[:, [0, 3, 6], 0, 0].numpy())


def test_a_transposed_matrix_has_its_channels_on_the_other_axis() -> None:
    made = exported("attention", 8, 8)
    node = nodes_of(made, "DequantizeLinear")["q.weight_DequantizeLinear"]
    assert [a.i for a in node.attribute if a.name == "axis"] == [1]


@pytest.mark.parametrize(
    ("bits", "kind"),
    [(2, "INT4"), (4, "INT4"), (5, "INT8"), (8, "INT8"), (9, "INT16"), (16, "INT16")],
)
def test_each_width_goes_into_the_next_type(bits: int, kind: str) -> None:
    made = export_qdq_onnx(tiny(encoding([0.1, 0.025], 0.0, -(1 << bits - 1), (1 << bits - 1) - 1)))
    whole = held(made)["conv.weight_quantized"]
    assert whole.data_type == getattr(TensorProto, kind)
    values = numpy_helper.to_array(whole).astype(int)
    assert values.min() >= -(1 << bits - 1)
    assert values.max() <= (1 << bits - 1) - 1


def test_a_bias_that_int32_cannot_hold_makes_its_channel_coarser() -> None:
    graph = tiny(encoding([0.1, 1e-9], 0.0, -128, 127), bias=(0.5, 40.0))
    made = export_qdq_onnx(graph)
    scale = numpy_helper.to_array(held(made)["conv.weight_scale"])
    assert scale[0] == np.float32(0.1)
    np.testing.assert_allclose(scale[1], 40 / 2**30 / 0.01, rtol=1e-6)
    assert int(numpy_helper.to_array(held(made)["conv.bias_quantized"])[1]) == 2**30
    assert "Weights of conv have channels" in " ".join(made.notes)
    inputs = torch.rand(50, 2, 1, 1)
    assert_agrees(graph, RuntimeSession(made.model), inputs, most=1)
    written = simulate_written_file(graph, made)
    own = written.quantizers["conv weight"].encoding
    assert own is not None
    assert np.array_equal(own.scale.flatten().numpy(), scale)
    assert written.graph.bias_of_layer(written.graph["conv"]).tolist() == pytest.approx([0.5, 40.0])


def test_what_is_written_leaves_the_simulation_as_it_was() -> None:
    graph, inputs = (
        tiny(encoding([0.1, 0.2], 0.0, -128, 127), bias=(0.5003, 0.7)),
        torch.rand(9, 2, 1, 1),
    )
    before = graph(inputs)
    written = simulate_written_file(graph, export_qdq_onnx(graph))
    assert torch.equal(graph(inputs), before)
    rounded = written.graph.bias_of_layer(written.graph["conv"])
    torch.testing.assert_close(rounded, torch.tensor([0.5, 0.7]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["fashion-mobilenet-imbalanced", "fashion-vit"])
def test_at_8_bits_integers_answer_as_the_simulation_of_what_is_written(name: str) -> None:
    """At least 99 of 100; 100 and 99.6 % of 500 images."""
    folded = sample_network(name).graph
    seen = first_output_of(next(fashion_train_part().sample(64).batches(64)).inputs)
    graph = quantize_graph(folded, uniform_config(8, 8), drain_steps(Calibrate(64)(folded, [seen])))
    made = export_qdq_onnx(graph)
    images = first_output_of(next(fashion_test_set().sample(200).batches(200)).inputs)
    written = simulate_written_file(graph, made)
    with torch.inference_mode():
        wanted = written(images).argmax(1)
    got = RuntimeSession(made.model)(images).argmax(1)
    assert float((got == wanted).double().mean()) >= 0.99


@pytest.mark.parametrize("seed", range(5))
def test_a_scale_raised_for_a_bias_leaves_the_bias_on_the_products(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    bias = 10 ** (4 * torch.rand(64, generator=generator) - 2)
    scale = 10 ** (-14 * torch.rand(64, generator=generator))
    weights = Encoding(scale[:, None, None, None], torch.zeros(64, 1, 1, 1), -128, 127)
    x = store_activation(encoding(0.01, 3.0, 0, 255))
    raised = raise_weight_scales(weights, bias, x)
    product = raised.scale.flatten().numpy() * x.scale
    assert bool((raised.scale > weights.scale).any())
    # an integer kernel knows no other scale of its bias
    assert np.array_equal(bias_scale(bias.numpy(), product), product)
    assert float((bias.numpy() / product.astype(float)).max()) < 2**31 - 1


def test_a_bias_of_sixteen_bits_has_a_scale_that_int32_holds() -> None:
    made = export_qdq_onnx(tiny(encoding([0.1, 1e-7], 0.0, -32768, 32767), (0.5, 40.0), x_bits=16))
    step = numpy_helper.to_array(held(made)["conv.bias_scale"])
    product = np.float32(0.01) * numpy_helper.to_array(held(made)["conv.weight_scale"])
    assert (step / product).tolist() == [1.0, 32.0]
    assert "power of two times" in " ".join(made.notes)
    codes = numpy_helper.to_array(held(made)["conv.bias_quantized"])
    np.testing.assert_allclose(codes * step.astype(float), [0.5, 40.0], rtol=1e-6)


def test_layers_at_thirty_two_bits_stay_float() -> None:
    graph = FoldBatchNorm()(graph_of("kitchen"))
    wish = config(8, 8).with_layer_change("conv2", SpecChange(bits=32), SpecChange(bits=32))
    made = export_qdq_onnx(calibrated(graph, wish))
    conv = nodes_of(made, "Conv")["conv2"]
    assert list(conv.input)[1:] == ["conv2.weight", "conv2.bias"]
    assert not [n for n in made.model.graph.node if n.name.startswith("conv2_")]
    assert "2 tensors stay float, as configured." in made.notes


def test_a_clip_that_its_grid_does_not_do_goes_behind_the_grid() -> None:
    graph = FoldBatchNorm()(graph_of("plain"))
    change = SpecChange(scale=ScaleKind.POWER_OF_TWO)
    fused = calibrated(graph, config(8, 8).with_layer_change("0", activation=change))
    fused.quantizers["0"].set_encoding(encoding(1 / 32, 0.0, 0, 255))  # up to 8, over a ReLU6
    made = export_qdq_onnx(fused)
    assert float(numpy_helper.to_array(held(made)["0_high"])) == 6.0
    executed = executed_operators(made.model)
    assert (executed["0"], executed["3"]) == ("QLinearConv", "QLinearConv")
    assert_agrees(fused, RuntimeSession(made.model, optimize=False), inputs_of("plain") * 9)


def test_what_is_moved_stays_on_its_grid_and_shares_it() -> None:
    made = exported("kitchen", 8, 8)
    pairs = nodes_of(made, "QuantizeLinear")
    assert list(pairs["left/MaxPool_QuantizeLinear"].input)[1:] == ["add_scale", "add_zero_point"]
    assert list(pairs["average_pool_QuantizeLinear"].input)[1:] == ["cat_scale", "cat_zero_point"]


def test_convolutions_pools_sums_and_matrices_run_in_whole_numbers() -> None:
    executed = executed_operators(exported("kitchen", 8, 8).model)
    wanted = {
        "conv1": "QLinearConv", "conv2": "QLinearConv", "left": "QLinearConv", "linear": "QGemm",
        "right.0": "QLinearConv", "add": "QLinearAdd", "cat": "QLinearConcat",
        "average_pool": "QLinearAveragePool",
    }  # fmt: skip
    assert {name: executed[name] for name in wanted} == wanted


@pytest.mark.parametrize("style", WeightStyle)
@pytest.mark.parametrize(
    "widths", [(8, 8, Granularity.PER_CHANNEL), (8, 16, TENSOR), (4, 8, GROUPS)]
)
def test_our_importer_reads_the_same_grids_back(
    tmp_path: Path, widths: tuple[int, int, Granularity], style: WeightStyle
) -> None:
    made, graph = exported("kitchen", *widths, style), simulated("kitchen", *widths)
    path = tmp_path / "kitchen.onnx"
    path.write_bytes(made.model.SerializeToString())
    imported = load_onnx_network(path)
    found = {e.tensor: e for e in imported.encodings}
    for site in graph.sites:
        encoding = graph.quantizers[site.name].encoding
        assert encoding is not None
        read = found[made.sources[site.name]]
        name = f"{made.marked.tensors[site.name].name}_DequantizeLinear"
        scale = nodes_of(made, "DequantizeLinear")[name].input[1]
        scales = numpy_helper.to_array(held(made)[scale])
        assert read.scale == tuple(scales.astype(float).ravel().tolist())
        assert set(read.scale) == set(encoding.scale.double().flatten().tolist())
        assert set(read.zero_point) == {int(zero) for zero in encoding.zero_point.flatten()}
        assert (read.bits, read.signed) == (site.spec.bits, encoding.qmin < 0)
        assert read.constant == (site.side is Side.WEIGHTS)


def test_a_network_without_ranges_is_refused() -> None:
    graph = graph_of("kitchen")
    with pytest.raises(ModelError, match="none for 'input' and 10 others"):
        export_qdq_onnx(quantize_graph(graph, QuantConfig()))


def sorted_scores(m: Any, x: torch.Tensor) -> Any:
    return torch.sort(m.head(x).sum(1), 1, descending=True)[0]


def attention_of_one_head(m: Any, x: torch.Tensor) -> Any:
    y = m.head(x)
    mask = torch.zeros(1, 4, 4)
    return nn.functional.scaled_dot_product_attention(y, y.flip(1), y, attn_mask=mask)


@pytest.mark.parametrize("run", [sorted_scores, attention_of_one_head])
def test_what_the_exporter_lacks_is_exported(run: Any) -> None:
    torch.manual_seed(0)
    network = Written(run, head=nn.Linear(6, 5)).eval()
    quantized = calibrated(capture_graph(network, (4, 6)), config(8, 8))
    session = ort.InferenceSession(export_qdq_onnx(quantized).model.SerializeToString())
    inputs = torch.randn(3, 4, 6)
    got = session.run(None, {"input": inputs.numpy()})[0]
    torch.testing.assert_close(torch.tensor(got), quantized(inputs), rtol=1e-3, atol=0.02)


def test_bags_with_a_padding_are_exported() -> None:
    def bags(m: Any, x: torch.Tensor) -> Any:
        return m.head(nn.functional.embedding_bag(x, m.table, mode="max", padding_idx=1))

    torch.manual_seed(0)
    network = Written(bags, table=torch.randn(9, 8), head=nn.Linear(8, 3)).eval()
    graph = capture_graph(network, (Input("x", (4,), "int64", 9),))
    batch = torch.randint(0, 9, (4, 4))
    quantized = quantize_graph(graph, config(8, 8), drain_steps(Calibrate()(graph, [batch])))
    session = ort.InferenceSession(export_qdq_onnx(quantized).model.SerializeToString())
    got = session.run(None, {session.get_inputs()[0].name: batch.numpy()})[0]
    torch.testing.assert_close(torch.tensor(got), quantized(batch), rtol=1e-3, atol=0.02)


def test_a_loop_that_pairs_cannot_enter_is_refused_in_a_sentence() -> None:
    """A body that reads a value nowhere computed, as where pairs renamed it outside alone."""
    names = [helper.make_tensor_value_info("i", TensorProto.INT64, []),
             helper.make_tensor_value_info("go", TensorProto.BOOL, [])]  # fmt: skip
    body = helper.make_graph(
        [helper.make_node("Identity", ["renamed"], ["out"])], "body", names,
        [names[1], helper.make_tensor_value_info("out", TensorProto.FLOAT, [])],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["count", "go"], ["y"], body=body)
    graph = helper.make_graph(
        [loop], "loop",
        [helper.make_tensor_value_info("count", TensorProto.INT64, []), names[1]],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"must be valid ONNX, got a file with Loop"):
        _check_file(helper.make_model(graph))
