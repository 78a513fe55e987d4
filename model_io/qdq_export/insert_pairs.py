"""Rewrites a float ONNX graph with Q/DQ pairs at the quantizers of the simulation."""

import numpy as np
import torch
from onnx import ModelProto, NodeProto, helper

from model_io.onnx_export.float_onnx import MarkedOnnx
from model_io.onnx_export.moves_values import only_moves_values
from model_io.qdq_export.hoist_quantizers import find_early_quantizers
from model_io.qdq_export.stored_encoding import StoredEncoding, store_activation
from model_io.qdq_export.weights import Parameters, WeightStyle
from model_io.qdq_export.writer import Writer
from quant.simulation.plan import Side
from quant.simulation.quant_graph import QuantGraph
from quant.simulation.quantizer import Quantizer

_BYTE = 8
WITH_PLACES = "MaxPool"
"""The mover whose second output holds whole numbers: the places of the values of the first."""
_HEARD = 0.25
"""Steps of an output that the rounding of biases may move it by before a note says so."""


class QdqBuilder:
    """Rewrites the nodes in order, with pairs after quantized values."""

    def __init__(self, quantized: QuantGraph, marked: MarkedOnnx, style: WeightStyle) -> None:
        self.quantized, self.marked = quantized, marked
        graph = marked.model.graph
        self.writer = Writer(graph.initializer, (value.name for value in graph.output))
        self.parameters = Parameters(quantized, marked, style, self.writer)
        self.narrow = self.parameters.narrow
        self._early = find_early_quantizers(marked)
        self._layers = {
            marked.nodes[layer.name]: layer
            for layer in quantized.graph.layers
            if layer.name in marked.nodes
        }
        self._places = {
            marked.tensors[site.name].name: quantized.quantizers[site.name]
            for site in quantized.sites
            if site.side is Side.ACTIVATIONS
        }
        self._moved_on = self._find_moved_tensors()
        self._stored: dict[tuple[int, int], StoredEncoding] = {}

    def build_qdq_model(self) -> ModelProto:
        """Return the whole model."""
        source = self.marked.model.graph
        for value in source.input:
            self._write_value_pair(value.name, value.name)
        for node in source.node:
            self._write_node(node)
        used = {value for node in self.writer.nodes for value in node.input}
        held = [tensor for name, tensor in self.writer.constants.items() if name in used]
        model = ModelProto()
        model.CopyFrom(self.marked.model)
        model.graph.CopyFrom(
            helper.make_graph(self.writer.nodes, source.name, source.input, source.output, held)
        )
        return model

    def _write_node(self, source: NodeProto) -> None:
        """Write a node with quantized inputs, then the pairs of the outputs."""
        node = NodeProto()
        node.CopyFrom(source)
        if node.name in self._layers:
            self.parameters.write_layer(self._layers[node.name], node.input[0])
        self._round_limits(node)
        for place, value in enumerate(source.input):
            node.input[place] = self.writer.read.get(value, node.input[place])
        codes = self._fused_clip_codes(node)
        if codes is not None:  # limits behind the encoding clip instead
            self._write_value_pair(node.output[0], node.input[0], codes)
            return
        moved = self._moved_encoding(source)
        count = 1 if source.op_type == WITH_PLACES else len(source.output)
        for place, value in enumerate(source.output[:count]):
            if value in self.writer.outputs and self._value_encoding(value, moved) is not None:
                node.output[place] = f"{value}_QuantizeLinear_Input"
        self.writer.nodes.append(node)
        for value, name in zip(source.output[:count], node.output[:count], strict=True):
            self._write_value_pair(value, name, moved=moved)

    def _write_value_pair(
        self,
        value: str,
        source: str,
        codes: tuple[int, int] | None = None,
        moved: StoredEncoding | None = None,
    ) -> None:
        """Write the pair of a quantized value; `source` holds the float value."""
        encoding = self._value_encoding(value, moved)
        if encoding is None:
            return
        self.writer.encodings[value] = encoding
        codes = codes or (
            (encoding.qmin, encoding.qmax) if value in self._places else encoding.type_limits
        )
        if encoding.is_narrower_than_type and value in self._places:
            self.narrow[value] = (encoding.qmin, encoding.qmax)
        if codes != encoding.type_limits:
            source = self.writer.write_limited_pair(value, source, encoding, codes)
        self.writer.read[value] = self.writer.write_pair(value, source, encoding)

    def _value_encoding(self, value: str, moved: StoredEncoding | None) -> StoredEncoding | None:
        """Return the encoding of a value: own, early, or moved along."""
        for tensor in (value, self._early.tensors.get(value, "")):
            quantizer = self._places.get(tensor)
            if quantizer is not None:
                return self._activation_encoding(quantizer, tensor)
        return moved

    def _activation_encoding(self, quantizer: Quantizer, tensor: str) -> StoredEncoding | None:
        """Return an activation's encoding; sites with a common encoding share the object."""
        if quantizer.encoding is None:
            return None
        least = _BYTE if tensor in self._moved_on else 0
        encoding = store_activation(quantizer.encoding, least)
        return self._stored.setdefault((id(quantizer.encoding), encoding.kind), encoding)

    def _find_moved_tensors(self) -> frozenset[str]:
        """Return the quantized tensors that moves read: no runtime moves 4-bit numbers."""
        nodes = self.marked.model.graph.node
        moved = {
            value
            for node in nodes
            if only_moves_values(node, self.writer.constants)
            for value in node.input
        }
        return frozenset(moved | set(self._early.tensors.values()))

    def _moved_encoding(self, node: NodeProto) -> StoredEncoding | None:
        """Return the encoding of a node that only moves quantized values."""
        if node.name in self._layers or not only_moves_values(node, self.writer.constants):
            return None
        count = len(node.input) if node.op_type == "Concat" else 1
        found = [self.writer.encodings.get(value) for value in node.input[:count]]
        return found[0] if all(encoding is found[0] for encoding in found) else None

    def _fused_clip_codes(self, node: NodeProto) -> tuple[int, int] | None:
        """Return the codes of a clip that works better behind the quantizer, else None.

        A clip between an operation and the quantizer prevents integer kernels, unless the limits of
        the type do the work of the clip. Behind the quantizer, a clip at the nearest codes has an
        equal result.
        """
        quantizer = self._places.get(node.output[0])
        if quantizer is None or quantizer.encoding is None or quantizer.clip is None:
            return None
        encoding = self._activation_encoding(quantizer, node.output[0])
        if encoding is None or node.op_type not in ("Relu", "Clip"):
            return None
        low, high = (_limit_code(encoding, limit) for limit in self._clip_limits(node))
        least, most = encoding.type_limits
        needless = (low is None or low <= least) and (high is None or high >= most)
        if needless and not (encoding.is_four_bits and node.op_type == "Clip"):
            return None
        if node.name in self._layers and not encoding.is_four_bits:
            return None
        return (
            encoding.qmin if low is None else max(low, encoding.qmin),
            encoding.qmax if high is None else min(high, encoding.qmax),
        )

    def _clip_limits(self, node: NodeProto) -> tuple[float | None, float | None]:
        """Return (low, high) of a node; the exporter joins the limits of two clips in a row."""
        if node.op_type == "Relu":
            return 0.0, None
        low, high = (
            float(self.writer.constant_array(name)) if name else None
            for name in [*node.input[1:], "", ""][:2]
        )
        return low, high

    def _round_limits(self, node: NodeProto) -> None:
        """Round the constant limits of a node to the encoding that now precedes the node."""
        quantizer = self._places.get(self._early.limits.get(node.name, ""))
        if quantizer is None or quantizer.encoding is None:
            return
        for place, value in enumerate(node.input[1:], 1):
            if value:
                limit = torch.tensor(self.writer.constant_array(value))
                rounded = quantizer.encoding.fake_quantize(limit).numpy()
                node.input[place] = self.writer.add_constant(f"{node.name}/limit_{place}", rounded)

    def export_notes(self) -> tuple[str, ...]:
        """Return a sentence for each unexpected property."""
        coarse, raised = self.parameters.coarse_biases, list(self.parameters.raised)
        quantizers = self.quantized.quantizers.values()
        floating = sum(quantizer.encoding is None for quantizer in quantizers)
        found = {
            f"{len(self.narrow)} encodings are narrower than the type that they are stored in, "
            "such as 6 bits in uint8: weights keep to the narrow limits, and limits between two "
            "pairs keep activations there.": self.narrow,
            f"The biases of {_abbreviate_layers(coarse)} have a power of two times scale_x * "
            "scale_w as their "
            "scale, since int32 would not hold them.": coarse,
            f"Weights of {_abbreviate_layers(raised)} have channels 2**23 times smaller than "
            "their bias: dead "
            "ones, mostly. These have a larger scale, so that int32 holds the bias.": raised,
            f"The channels of {len(self.parameters.channel_bits)} weights have own widths: "
            "each is stored in the type of its widest channel, and the metadata "
            "quantscope.channel_bits tells them.": self.parameters.channel_bits,
            f"{floating} tensors stay float, as configured.": floating,
            self._bias_rounding_note(): self._worst_bias_error() > _HEARD,
        }
        return tuple(sentence for sentence, holds in found.items() if holds)

    def _worst_bias_error(self) -> float:
        return max(self.parameters.bias_errors.values(), default=0.0)

    def _bias_rounding_note(self) -> str:
        errors = self.parameters.bias_errors
        coarse = sum(error > _HEARD for error in errors.values())
        worst = max(errors, key=lambda name: errors[name], default="")
        return (
            f"Biases must be multiples of scale_x * scale_w, which runs leave out: in "
            f"{worst} that moves the output by up to {self._worst_bias_error():.1f} of its steps, "
            "and in "
            f"{coarse} layers by more than a quarter. Equalizing brings the scales together."
        )


def _abbreviate_layers(layers: list[str]) -> str:
    """Return layers for a sentence: the first name and the count."""
    if len(layers) < 2:
        return "".join(layers)
    return f"{len(layers)} layers, such as {layers[0]},"


def _limit_code(encoding: StoredEncoding, limit: float | None) -> int | None:
    """Return the code of a limit."""
    if limit is None:
        return None
    # in float32, like the division of the quantizer
    return int(np.rint(np.float32(limit) / encoding.scale)) + int(encoding.zero_point)
