"""The encodings of a simulated network and the float ONNX file with the same tensor names."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor

from model_io.encodings.aimet_write import version_notes, write_aimet_encodings
from model_io.encodings.tensor_encoding import FileEncoding, file_encoding_of, float_tensor_record
from model_io.errors import ModelError
from model_io.onnx_export.float_onnx import FileTensor, MarkedOnnx
from model_io.onnx_export.moves_values import only_moves_values
from quant.config import LayerConfig
from quant.graph.layers import Layer
from quant.simulation.plan import Side, Site, weight_site_name
from quant.simulation.quant_graph import QuantGraph
from quant.spec import Estimator, Granularity

BIAS_BITS = 32
_SCHEMES = {
    Estimator.MIN_MAX: "min_max",
    Estimator.PERCENTILE: "post_training_percentile",
}
_SCHEME = "post_training_tf_enhanced"
"""What AIMET calls ranges of least squared error."""


@dataclass(frozen=True, slots=True)
class ExportedEncodings:
    """Encodings as JSON text, the losses of the format, and the number of named tensors."""

    text: str
    notes: tuple[str, ...]
    tensors: int


def export_network_encodings(
    quantized: QuantGraph, marked: MarkedOnnx, version: str, default: LayerConfig
) -> ExportedEncodings:
    """Return the encodings of a calibrated network for the file of `marked`.

    Args:
        quantized: the simulated network.
        marked: the network as float ONNX.
        version: "2.0.0" or "1.0.0".
        default: the commonest spec, for the settings in 1.0.0.

    Raises:
        ModelError: a range is missing, or the version is unknown.
    """
    encodings = tuple(network_encodings(quantized, marked))
    text = write_aimet_encodings(encodings, version, _quantizer_args(default))
    return ExportedEncodings(text, version_notes(encodings, version), len(encodings))


def network_encodings(quantized: QuantGraph, marked: MarkedOnnx) -> Iterator[FileEncoding]:
    """Yield the encodings of activations, moved values, weights and biases."""
    activations: dict[str, FileEncoding] = {}
    weights: list[FileEncoding] = []
    for site in quantized.sites:
        held = marked.tensors[site.name]
        encoding = _site_encoding(quantized, site, held)
        if site.side is Side.WEIGHTS:
            weights.append(encoding)
        else:
            activations[held.name] = encoding
    yield from activations.values()
    yield from _moved_value_encodings(activations, marked)
    yield from weights
    yield from _bias_encodings(quantized, marked)


def _site_encoding(quantized: QuantGraph, site: Site, held: FileTensor) -> FileEncoding:
    encoding = quantized.quantizers[site.name].encoding
    if site.spec.is_float:
        return float_tensor_record(held.name, parameter=site.side is Side.WEIGHTS)
    if encoding is None:
        raise ModelError(
            f"Every encoding must be known before it is written, got none for {site.name!r}. "
            "Calibrate first."
        )
    if site.side is not Side.WEIGHTS:
        return replace(file_encoding_of(held.name, encoding, site.spec), parameter=False)
    axis = quantized.graph[site.layer].channel_axis
    return file_encoding_of(held.name, encoding, site.spec, axis, flipped=is_weight_flipped(held))


def is_weight_flipped(held: FileTensor) -> bool:
    """Whether the file holds a matrix transposed."""
    return len(held.axes) == 2 and held.axes == (1, 0)


def _moved_value_encodings(
    activations: dict[str, FileEncoding], marked: MarkedOnnx
) -> Iterator[FileEncoding]:
    """Yield the encoding of every value that moves quantized values, as AIMET does."""
    graph = marked.model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    known = dict(activations)
    outputs = {output.name for output in graph.output}
    for node in graph.node:
        sources = [name for name in node.input if name in known]
        new = [name for name in node.output if name and name not in known]
        # a ReLU before the layer's encoding belongs to the layer; several inputs can differ
        if not new or len(sources) != 1 or node.op_type == "Relu":
            continue
        encoding = known[sources[0]]
        if (
            node.input[0] != sources[0]
            or encoding.floating
            or not only_moves_values(node, constants)
        ):
            continue
        for name in new:
            known[name] = replace(encoding, tensor=name)
            if name not in outputs or name not in activations:
                yield known[name]


def _bias_encodings(quantized: QuantGraph, marked: MarkedOnnx) -> Iterator[FileEncoding]:
    """Yield biases as int32 with the scale of the products, scale_x * scale_w."""
    for name, held in marked.biases.items():
        layer = quantized.graph[name]
        weight = quantized.quantizers[weight_site_name(name)]
        source = _layer_input_scale(quantized, layer)
        if weight.encoding is None or source is None or _scales_vary_by_input(weight.site):
            continue
        scale = source * weight.encoding.scale.flatten()
        count = quantized.graph.bias_of_layer(layer).numel()
        shape = () if scale.numel() == 1 and count > 1 else (scale.numel(),)
        yield FileEncoding(
            held.name,
            BIAS_BITS,
            signed=True,
            symmetric=True,
            scale=tuple(scale.tolist()),
            zero_point=(0,) * scale.numel(),
            shape=shape,
            axis=0 if shape else None,
            parameter=True,
        )


def _scales_vary_by_input(site: Site) -> bool:
    return site.spec.granularity is Granularity.PER_GROUP


def _layer_input_scale(quantized: QuantGraph, layer: Layer) -> Tensor | None:
    """Return the scale, of shape (), of the layer's input behind moves; None for a float input."""
    operation = next(n for n in quantized.module.graph.nodes if n.name == layer.node)
    node = operation.args[0]
    modules = dict(quantized.module.named_modules())
    while node.op != "placeholder":
        if node.op == "call_module":
            encoding = getattr(modules[str(node.target)], "encoding", None)
            return None if encoding is None else encoding.scale
        sources = node.all_input_nodes
        if node.op != "call_function" or not sources or node.name in _operation_names(quantized):
            return None
        node = sources[0]
    return None


def _operation_names(quantized: QuantGraph) -> set[str]:
    return {layer.node for layer in quantized.graph.layers}


def model_with_quantized_weights(quantized: QuantGraph, marked: MarkedOnnx) -> ModelProto:
    """Return the float model with quantized weights; quantizing again changes no weight."""
    model = ModelProto()
    model.CopyFrom(marked.model)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    for site in quantized.sites:
        encoding = quantized.quantizers[site.name].encoding
        if site.side is not Side.WEIGHTS or encoding is None:
            continue
        weight = quantized.graph.stored_tensor(str(quantized.graph[site.layer].weight))
        with torch.no_grad():
            value = encoding.fake_quantize(weight).numpy()
        place = marked.tensors[site.name]
        array = np.array(np.transpose(value, place.axes), order="C")
        held[place.name].CopyFrom(numpy_helper.from_array(array, place.name))
    return model


def _quantizer_args(default: LayerConfig) -> dict[str, object]:
    """Return `quantizer_args` of 1.0.0."""
    return {
        "activation_bitwidth": default.activation.bits,
        "dtype": "int",
        "is_symmetric": default.weight.symmetric,
        "param_bitwidth": default.weight.bits,
        "per_channel_quantization": default.weight.granularity is not Granularity.PER_TENSOR,
        "quant_scheme": _SCHEMES.get(default.activation.estimator, _SCHEME),
    }
