"""A quantized network as ONNX with QuantizeLinear and DequantizeLinear (opset 21).

Every value on a grid passes a pair of them; weights are whole numbers with DequantizeLinear behind
them, or real ones with a pair. A runtime that knows the pattern computes in whole numbers. The file
computes what the simulation does, up to the rounding of biases and the order of sums in float32.
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
        model: opset 21; metadata and doc_string tell of grids that are narrower than their type.
        marked: the float model it was made from.
        values: for each site of an activation the value that later nodes read: what its
            DequantizeLinear gives, or the float tensor where it has no grid.
        sources: for each site with a grid what its first quantizer reads, or the whole numbers
            that its DequantizeLinear does.
        notes: a sentence on all that is not as one would expect.
        biases: for each layer with a bias in whole numbers what these stand for, (O,).
        raised: for each layer whose weight has a larger scale than `quantized` its grid.
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
    """Return a calibrated network as ONNX with Q/DQ pairs, as repaired and rounded as it is.

    Biases are int32 on the grid scale_x * scale_w where input and weight have grids and the type
    holds them. A width without a type of its own goes into the next wider one. `marked` saves the
    time to make it where the float file of the same network is there already.

    Raises:
        ModelError: a range is missing, an operation has no words in ONNX, or the file is too big.
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
    model = shape_inference.infer_shapes(model)
    checker.check_model(model, full_check=True)
    values = {
        site: builder.writer.read.get(tensor.name, tensor.name)
        for site, tensor in marked.tensors.items()
        if not tensor.axes
    }
    held = builder.parameters
    return QdqOnnx(
        model, marked, values, _quantizer_sources(model, marked), notes, held.biases, held.raised
    )


def _quantizer_sources(model: ModelProto, marked: MarkedOnnx) -> dict[str, str]:
    """Return what the quantizer of each site reads."""
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
            f"Every grid must be known before it is written, got none for {missing[0]!r} and "
            f"{len(missing) - 1} others. Calibrate first."
        )
