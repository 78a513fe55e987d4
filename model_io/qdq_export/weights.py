"""Weights and biases of a file with Q/DQ pairs."""

from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray

from model_io.onnx_export.float_onnx import MarkedOnnx
from model_io.qdq_export.int32_biases import bias_scale, raise_weight_scales
from model_io.qdq_export.stored_encoding import StoredEncoding, store_weight
from model_io.qdq_export.writer import Writer
from quant.encoding import Encoding
from quant.graph.layers import Layer
from quant.simulation.plan import weight_site_name
from quant.simulation.quant_graph import QuantGraph
from quant.spec import write_widths_text


class WeightStyle(StrEnum):
    """The form of weights in a file: integers, or real numbers with a pair."""

    INTEGER = "integer"
    FLOAT = "float"


class Parameters:
    """Writes the weights and biases of layers, each tensor once."""

    def __init__(
        self, quantized: QuantGraph, marked: MarkedOnnx, style: WeightStyle, writer: Writer
    ) -> None:
        self.quantized, self.marked, self.style, self.writer = quantized, marked, style, writer
        self.coarse_biases: list[str] = []
        self.raised: dict[str, Encoding] = {}
        """Grids of weights with larger scales than asked for, by layer."""
        self.biases: dict[str, NDArray[np.float32]] = {}
        """What the whole numbers of a bias stand for, (O,) by layer."""
        self.bias_errors: dict[str, float] = {}
        """The largest rounding of a layer's bias, in steps of its output's grid."""
        self.narrow: dict[str, tuple[int, int]] = {}
        self.channel_bits: dict[str, str] = {}
        """One character a channel for each weight whose channels have widths of their own."""

    def write_layer(self, layer: Layer, source: str) -> None:
        """Write the weight and the bias of a layer; `source` is the input value."""
        site = weight_site_name(layer.name)
        if site not in self.quantized.quantizers:
            return
        encoding = self.quantized.quantizers[site].encoding
        x = self.writer.encodings.get(source)
        if encoding is None:
            return
        bias = self.marked.biases.get(layer.name)
        if x is None or bias is None or _scales_vary_by_input(encoding, layer):
            self._write_weight(layer, encoding)
            return
        held = self.writer.constant_array(bias.name).astype(np.float32)
        raised = raise_weight_scales(encoding, torch.tensor(held), x)
        if raised is not encoding:
            self.raised[layer.name] = raised
        stored = self._write_weight(layer, raised)
        self._write_bias(layer, bias.name, held, x.scale * stored.scale)

    def _write_weight(self, layer: Layer, encoding: Encoding) -> StoredEncoding:
        """Write a weight as integers, or as real numbers with a pair."""
        site = weight_site_name(layer.name)
        tensor = self.marked.tensors[site]
        stored = store_weight(encoding, self.quantized.quantizers[site].site.spec, layer, tensor)
        own_bits = self.quantized.quantizers[site].site.spec.channel_bits
        if own_bits:
            self.channel_bits[tensor.name] = write_widths_text(own_bits)
        if stored.is_narrower_than_type:
            self.narrow[tensor.name] = (stored.qmin, stored.qmax)
        own = self.quantized.graph.stored_tensor(str(layer.weight)).detach()
        if self.style is WeightStyle.FLOAT:
            inside = own.clamp(encoding.low, encoding.high) if stored.is_narrower_than_type else own
            if encoding.channel_bits is not None:  # the pair would round one bit to zero
                inside = encoding.fake_quantize(own)
            source = self.writer.add_constant(tensor.name, inside.numpy().transpose(tensor.axes))
            self.writer.read[tensor.name] = self.writer.write_pair(tensor.name, source, stored)
            return stored
        codes = encoding.quantize(own).numpy().transpose(tensor.axes)
        whole = self.writer.add_constant(
            f"{tensor.name}_quantized", codes.astype(stored.zero_point.dtype)
        )
        self.writer.read[tensor.name] = self.writer.write_dequantize(tensor.name, whole, stored)
        return stored

    def _write_bias(
        self, layer: Layer, name: str, bias: NDArray[np.float32], product: NDArray[np.float32]
    ) -> None:
        scale = bias_scale(bias, product)
        if np.any(scale > np.resize(product, scale.shape)):
            self.coarse_biases.append(layer.name)
        steps = np.rint(bias / scale.astype(np.float64)).astype(np.int32)
        self.biases[layer.name] = (steps * scale.astype(np.float64)).astype(np.float32)
        output = self.quantized.quantizers[layer.name].encoding
        if output is not None:
            error = np.abs(bias - steps * scale.astype(np.float64)).max(initial=0)
            self.bias_errors[layer.name] = float(error) / float(output.scale)
        given = [
            self.writer.add_constant(f"{name}_quantized", steps),
            self.writer.add_constant(f"{name}_scale", scale),
            self.writer.add_constant(f"{name}_zero_point", np.zeros(scale.shape, np.int32)),
        ]
        axis = {"axis": 0} if scale.ndim else {}
        self.writer.read[name] = self.writer.write_node(
            "DequantizeLinear",
            given,
            f"{name}_DequantizeLinear",
            f"{name}_DequantizeLinear_Output",
            **axis,
        )


def _scales_vary_by_input(encoding: Encoding, layer: Layer) -> bool:
    """Whether scales vary along input channels, so that products have no common scale."""
    return encoding.scale.dim() > 1 and encoding.scale.shape[1 - layer.channel_axis] > 1
