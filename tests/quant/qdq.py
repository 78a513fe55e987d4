"""A quantized network as ONNX with Q/DQ pairs, which ONNX Runtime turns into integer kernels.

Weights are int8 and symmetric, activations uint8, biases int32 on the grid scale_x * scale_w. Only
what the sample networks of convolutions need is here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx

from quant.encoding import Encoding
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph
from quant.simulation.quantizer import Quantizer, encoding_subsumes_clip

OPSET = 21


class QdqBuilder:
    """Walks a quantized graph in order of execution and writes one ONNX node after another."""

    def __init__(self, graph: QuantGraph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        # the grid on which the value of a torch node lies
        self.encodings: dict[fx.Node, Encoding] = {}

    def build(self) -> onnx.ModelProto:
        names: dict[str, str] = {}
        for node in self.graph.module.graph.nodes:
            if node.op == "call_module":
                self._quantizer(node, self.graph.module.get_submodule(str(node.target)))
            elif node.op == "call_function":
                OPERATORS[str(node.target)](self, node)
            elif node.op == "placeholder":
                names["input"] = node.name
            elif node.op == "output":
                names["output"] = node.all_input_nodes[0].name
        float_graph = self.graph.graph
        shapes = {"input": float_graph.input_shape, "output": float_graph.output_shape}
        ends = {
            end: [helper.make_tensor_value_info(names[end], TensorProto.FLOAT, ["n", *shape])]
            for end, shape in shapes.items()
        }
        return helper.make_model(
            helper.make_graph(
                self.nodes, "quantized", ends["input"], ends["output"], self.initializers
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=10,
        )

    def emit(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Tensor, kind: str = "float32") -> str:
        array = np.array(value.detach().numpy(), kind, order="C")
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def write_pair(self, source: str, output: str, encoding: Encoding) -> str:
        """Write a Q/DQ pair of uint8; return the name of its result."""
        assert (encoding.qmin, encoding.qmax) == (0, 255)
        inputs = self._encoding_inputs(output, encoding.scale, encoding.zero_point, "uint8")
        whole = self.emit("QuantizeLinear", [source, *inputs], f"{output}.quantized")
        return self.emit("DequantizeLinear", [whole, *inputs], output)

    def _encoding_inputs(
        self, name: str, scale: Tensor, zero_point: Tensor, kind: str
    ) -> list[str]:
        return [
            self.constant(f"{name}.scale", scale),
            self.constant(f"{name}.zero_point", zero_point, kind),
        ]

    def _quantizer(self, node: fx.Node, quantizer: object) -> None:
        assert isinstance(quantizer, Quantizer)
        encoding, source = quantizer.encoding, node.all_input_nodes[0]
        assert encoding is not None
        self.encodings[node] = encoding
        if quantizer.site.side is Side.WEIGHTS:
            self._weight(node.name, self.graph.graph.stored_tensor(str(source.target)), encoding)
            return
        clip = quantizer.clip
        if clip is None or encoding_subsumes_clip(encoding, clip):
            self.write_pair(source.name, node.name, encoding)
            return
        # clipped behind the grid, at its nearest steps, so that nothing parts it from the operation
        whole = self.write_pair(source.name, f"{node.name}.unclipped", encoding)
        limits = [
            self.constant(f"{node.name}.{end}", encoding.fake_quantize(torch.tensor(limit)))
            if limit is not None
            else ""
            for end, limit in zip(("low", "high"), clip, strict=True)
        ]
        clipped = self.emit("Clip", [whole, *limits], f"{node.name}.clipped")
        self.write_pair(clipped, node.name, encoding)

    def _weight(self, name: str, weight: Tensor, encoding: Encoding) -> None:
        assert (encoding.qmin, encoding.qmax) == (-128, 127)
        whole = self.constant(f"{name}.whole", encoding.quantize(weight), "int8")
        inputs = self._encoding_inputs(
            name, encoding.scale.flatten(), encoding.zero_point.flatten(), "int8"
        )
        self.emit("DequantizeLinear", [whole, *inputs], name, axis=0)

    def bias(self, node: fx.Node) -> str:
        """Write the bias of an operation on the grid of its products; return its name."""
        source, weight, target = node.all_input_nodes[:3]
        scale = self.encodings[source].scale * self.encodings[weight].scale.flatten()
        value = self.graph.graph.stored_tensor(str(target.target)).double() / scale.double()
        name = f"{node.name}.bias"
        whole = self.constant(f"{name}.whole", value.round(), "int32")
        inputs = self._encoding_inputs(name, scale, torch.zeros_like(scale), "int32")
        return self.emit("DequantizeLinear", [whole, *inputs], name, axis=0)


def _convolution(builder: QdqBuilder, node: fx.Node) -> None:
    # torch leaves out arguments at the end that equal their defaults
    defaults: list[Any] = [None, None, None, [1, 1], [0, 0], [1, 1], 1]
    arguments: list[Any] = [*node.args, *defaults[len(node.args) :]]
    stride, padding, dilation, groups = arguments[3:]
    x, weight = (source.name for source in node.all_input_nodes[:2])
    builder.emit(
        "Conv",
        [x, weight, builder.bias(node)],
        node.name,
        strides=stride,
        pads=[*padding, *padding],
        dilations=dilation,
        group=groups,
    )


def _linear(builder: QdqBuilder, node: fx.Node) -> None:
    x, weight = (source.name for source in node.all_input_nodes[:2])
    builder.emit("Gemm", [x, weight, builder.bias(node)], node.name, transB=1)


def _add(builder: QdqBuilder, node: fx.Node) -> None:
    builder.emit("Add", [source.name for source in node.all_input_nodes], node.name)


def _global_average(builder: QdqBuilder, node: fx.Node) -> None:
    builder.emit("GlobalAveragePool", [node.all_input_nodes[0].name], node.name)


def _flatten(builder: QdqBuilder, node: fx.Node) -> None:
    source = node.all_input_nodes[0]
    builder.encodings[node] = builder.encodings[source]
    shape = builder.constant(f"{node.name}.shape", torch.tensor([0, -1]), "int64")
    # Q/DQ on both sides let ONNX Runtime move whole numbers
    moved = builder.emit("Reshape", [source.name, shape], f"{node.name}.moved")
    builder.write_pair(moved, node.name, builder.encodings[node])


OPERATORS: dict[str, Callable[[QdqBuilder, fx.Node], None]] = {
    "aten.conv2d.default": _convolution,
    "aten.linear.default": _linear,
    "aten.add.Tensor": _add,
    "aten.adaptive_avg_pool2d.default": _global_average,
    "aten.flatten.using_ints": _flatten,
}


def integer_session(graph: QuantGraph, folder: Path) -> tuple[ort.InferenceSession, list[str]]:
    """Return the network in ONNX Runtime and the operators that it really executes."""
    model = QdqBuilder(graph).build()
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # x86 without VNNI adds pairs of uint8 x int8 products in 16 bits, which saturates; this makes
    # ONNX Runtime take uint8 weights there, and changes nothing elsewhere
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    executed = onnx.load(folder / "optimized.onnx")
    return session, [node.op_type for node in executed.graph.node]
