"""A quantized network as ONNX with QuantizeLinear and DequantizeLinear (opset 21).

A quantized value passes through a Q/DQ pair. A weight is stored as integers with DequantizeLinear,
or as real numbers with a pair. A runtime with integer kernels recognizes the pattern. The file
computes the numbers of the simulation, except for rounded biases and the order of float32 sums.
"""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, checker, shape_inference

from model_io.errors import ModelError
from model_io.onnx_export.float_onnx import MarkedOnnx, export_marked_onnx
from model_io.onnx_import.reading.remove_qdq import NARROW_KEY
from model_io.qdq_export.insert_pairs import QdqBuilder
from model_io.qdq_export.weights import WeightStyle
from quant.encoding import Encoding
from quant.simulation.quant_graph import QuantGraph

CHANNEL_BITS_KEY = "quantscope.channel_bits"
"""Metadata: as JSON, for each weight in question the width of each channel, a character each."""


@dataclass(frozen=True, eq=False, slots=True)
class QdqOnnx:
    """A quantized ONNX model.

    Attributes:
        model: opset 21; metadata and doc_string name the encodings narrower than the stored type.
        marked: the float model before quantization.
        values: the value for later nodes, by activation site: the output of DequantizeLinear, or
            the float tensor of a float site.
        sources: the input of the first quantizer, by site; for stored integers the input of
            DequantizeLinear.
        notes: a sentence for each unexpected property.
        biases: the real value of an integer bias, of shape (O,), by layer.
        raised: the weight encoding with a larger scale than in `quantized`, by layer.
    """

    model: ModelProto
    marked: MarkedOnnx
    values: dict[str, str]
    sources: dict[str, str]
    notes: tuple[str, ...]
    biases: dict[str, NDArray[np.float32]]
    raised: dict[str, Encoding]


def export_qdq_onnx(
    quantized: QuantGraph,
    weights: WeightStyle = WeightStyle.INTEGER,
    marked: MarkedOnnx | None = None,
) -> QdqOnnx:
    """Return a calibrated network as ONNX with Q/DQ pairs, with the repairs and rounded weights.

    If input and weight are quantized and int32 suffices, the bias is int32 with the scale
    scale_x * scale_w. A width without an integer type uses the next wider type. `marked` is the
    float file of the network; passing `marked` saves a second export.

    Raises:
        ModelError: a range is missing, ONNX lacks an operator, or the file is too big.
    """
    _check_calibrated(quantized)
    marked = marked or export_marked_onnx(quantized)
    builder = QdqBuilder(quantized, marked, weights)
    model = builder.build_qdq_model()
    notes = builder.export_notes()
    model.doc_string = " ".join(("Quantized by QuantScope.", *notes))
    if builder.narrow:
        entry = model.metadata_props.add()
        entry.key, entry.value = NARROW_KEY, json.dumps(builder.narrow)
    if builder.parameters.channel_bits:
        entry = model.metadata_props.add()
        entry.key, entry.value = CHANNEL_BITS_KEY, json.dumps(builder.parameters.channel_bits)
    model = _check_file(model)
    values = {
        site: builder.writer.read.get(tensor.name, tensor.name)
        for site, tensor in marked.tensors.items()
        if not tensor.axes
    }
    held = builder.parameters
    return QdqOnnx(
        model, marked, values, _quantizer_sources(model, marked), notes, held.biases, held.raised
    )


def _check_file(model: ModelProto) -> ModelProto:
    """Return the model with inferred shapes.

    Raises:
        ModelError: the file is no valid ONNX, such as one with loops that pairs cannot enter.
    """
    try:
        model = shape_inference.infer_shapes(model)
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        inner = {n.op_type for n in model.graph.node if any(a.HasField("g") for a in n.attribute)}
        found = ", ".join(sorted(inner)) or "a fault"
        raise ModelError(
            f"The quantized network must be valid ONNX, got a file with {found} "
            f"({str(error).splitlines()[0][:160]}). Replace that operation, or export a .pt2 file "
            "or the encodings."
        ) from error
    return model


def _quantizer_sources(model: ModelProto, marked: MarkedOnnx) -> dict[str, str]:
    """Return the input of the quantizer, by site."""
    readers = {node.name: node.input[0] for node in model.graph.node}
    found = {
        site: readers.get(
            f"{tensor.name}_QuantizeLinear", readers.get(f"{tensor.name}_DequantizeLinear")
        )
        for site, tensor in marked.tensors.items()
    }
    return {site: source for site, source in found.items() if source is not None}


def _check_calibrated(quantized: QuantGraph) -> None:
    missing = [
        site.name
        for site in quantized.sites
        if not site.spec.is_float and quantized.quantizers[site.name].encoding is None
    ]
    if missing:
        raise ModelError(
            f"Every encoding must be known before it is written, got none for {missing[0]!r} and "
            f"{len(missing) - 1} others. Calibrate first."
        )
