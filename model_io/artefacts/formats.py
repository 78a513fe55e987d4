"""The export formats: making and checking the files of a format."""

import io
import json
import shlex
from collections.abc import Callable

import torch

from model_io.artefacts.artefact import Artefact, ArtefactSource, Format
from model_io.artefacts.pt2_program import write_pt2_program
from model_io.artefacts.qdq import qdq_file_maker
from model_io.artefacts.viewer_overlays import (
    LayerNumber,
    write_model_explorer,
    write_netron_attachment,
)
from model_io.encodings.aimet_read import read_aimet_encodings
from model_io.encodings.apply_to_network import apply_file_encodings, encoding_targets_by_tensor
from model_io.encodings.export_encodings import export_network_encodings
from model_io.errors import ModelError
from model_io.qdq_export.weights import WeightStyle
from quant.config import config_from_file, config_to_file
from quant.inputs import tensors_of_batch
from quant.torch_state import exclusive_torch


def _encodings_maker(version: str) -> Callable[[ArtefactSource], Artefact]:
    def make(source: ArtefactSource) -> Artefact:
        quantized, marked = source.quantized, source.marked_onnx
        found = export_network_encodings(quantized, marked, version, source.config.default)
        onnx, encodings = f"{source.name}.onnx", f"{source.name}.encodings"
        files = {encodings: found.text.encode(), onnx: source.checked_float_onnx}
        line = f"qairt-converter --input_network {onnx} --quantization_overrides {encodings}"
        return Artefact(
            files,
            (_describe_read_back(source, found.text), f"{onnx} passes the ONNX checker."),
            found.notes,
            f"{line} --output_path {source.name}.dlc",
        )

    return make


def _describe_read_back(source: ArtefactSource, text: str) -> str:
    """Read the exported encodings again and return the comparison in a sentence.

    Raises:
        ModelError: an encoding differs after reading.
    """
    encodings = read_aimet_encodings(text, source.name).encodings
    graph = source.graph
    found = apply_file_encodings(
        encodings, graph, encoding_targets_by_tensor(graph, {}), source.name
    ).encodings
    wanted = {n: q.encoding for n, q in source.quantized.quantizers.items() if q.encoding}
    differ = [
        n for n, e in wanted.items() if n in found and not torch.equal(e.scale, found[n].scale)
    ]
    if differ or set(wanted) != set(found):
        names = sorted(differ or set(wanted) ^ set(found))
        raise ModelError(f"Encodings must come back as they went; {names[0]!r} does not.")
    return f"Read again: the scales of all {len(wanted)} encodings are the same to the bit."


def _make_pt2_program(source: ArtefactSource) -> Artefact:
    content, file = write_pt2_program(source.quantized), f"{source.name}.pt2"
    graph = source.quantized.graph
    sizes = [(graph.batch or 1, *one.shape) for one in graph.inputs]
    inputs = ", ".join(f"torch.zeros{size}" for size in sizes)
    line = f"net = torch.export.load('{file}').module(); print(net({inputs}))"
    return Artefact(
        {file: content},
        (_describe_program_agreement(source, content),),
        (),
        f'python -c "import torch; {line}"',
    )


def _describe_program_agreement(source: ArtefactSource, content: bytes) -> str:
    """Run the file beside the simulation and return the agreement in a sentence.

    Raises:
        ModelError: the file and the simulation give different numbers.
    """
    inputs = source.trial_inputs
    with exclusive_torch():
        module = torch.export.load(io.BytesIO(content)).module()
    with torch.inference_mode():
        got, wanted = module(*inputs), source.quantized.run(inputs)
    pairs = zip(tensors_of_batch(got), tensors_of_batch(wanted), strict=True)
    if not all(torch.equal(first, second) for first, second in pairs):
        raise ModelError("The .pt2 file must compute what the simulation does, and does not.")
    return f"Loaded by torch alone, run on {source.trial_description}: equal to the last bit."


def _make_configuration(source: ArtefactSource) -> Artefact:
    layers = source.quantized.graph.layers
    text = config_to_file(source.config, layers)
    if config_from_file(text, layers) != (source.config, ()):
        raise ModelError("The configuration must come back as it went, and does not.")
    file = f"{source.name}.config.json"
    rules = len(source.config.rules)
    return Artefact(
        {file: text.encode()},
        (f"Read again: the same default and {rules} rules.",),
        (),
        f"python cli.py evaluate --model {shlex.quote(source.model)} --config {file}",
    )


def _make_node_data(source: ArtefactSource) -> Artefact:
    onnx = f"{source.name}.onnx"
    files = {
        f"{source.name}.{metric.name.lower()}.json": write_model_explorer(
            metric, source.marked_onnx.nodes
        ).encode()
        for metric in _known_layer_numbers(source)
    }
    return Artefact(
        {**files, onnx: source.checked_float_onnx},
        (_describe_matched_nodes(source),),
        ("In the viewer, add the JSON files as custom node data.",),
        f"model-explorer {onnx} --extensions=model_explorer_onnx",
    )


def _make_netron_overlay(source: ArtefactSource) -> Artefact:
    onnx, file = f"{source.name}.onnx", f"{source.name}.netron.json"
    settings = {"configuration": json.dumps(source.config.to_dict()["default"])}
    text = write_netron_attachment(_known_layer_numbers(source), source.marked_onnx.nodes, settings)
    return Artefact(
        {file: text.encode(), onnx: source.checked_float_onnx},
        (_describe_matched_nodes(source),),
        (f"Drop {file} onto the open model to see its numbers beside each node.",),
        f"netron {onnx}",
    )


def _known_layer_numbers(source: ArtefactSource) -> tuple[LayerNumber, ...]:
    if not source.metrics:
        raise ModelError("Viewers need numbers of layers, and none are known. Choose data first.")
    return source.metrics


def _describe_matched_nodes(source: ArtefactSource) -> str:
    """Return a sentence on the nodes that have numbers; the ONNX file holds every node.

    Raises:
        ModelError: a node is absent from the file.
    """
    names = {node.name for node in source.marked_onnx.model.graph.node}
    lost = set(source.marked_onnx.nodes.values()) - names
    if lost:
        raise ModelError(f"Every node must be in the ONNX file, and {min(lost)!r} is not.")
    counts = ", ".join(
        f"{sum(layer in metric.values for layer in source.marked_onnx.nodes)} with {metric.name}"
        for metric in source.metrics
    )
    return f"All {len(source.marked_onnx.nodes)} nodes are in the ONNX file: {counts}."


FORMATS: dict[str, Format] = {
    "onnx-qdq": Format(
        "ONNX, quantized",
        "Weights as whole numbers, Q/DQ pairs; runtimes compute in integers",
        qdq_file_maker(WeightStyle.INTEGER),
    ),
    "onnx-qdq-float": Format(
        "ONNX, float weights",
        "The same with float weights between Q/DQ pairs, for compilers",
        qdq_file_maker(WeightStyle.FLOAT),
    ),
    "aimet-2.0.0": Format(
        "AIMET encodings 2.0.0",
        "Float ONNX with the newest encodings file",
        _encodings_maker("2.0.0"),
    ),
    "aimet-1.0.0": Format(
        "AIMET encodings 1.0.0",
        "Float ONNX with the encodings that most converters read",
        _encodings_maker("1.0.0"),
    ),
    "pt2": Format(
        "PyTorch program",
        "The simulation for torch.export.load, without this code",
        _make_pt2_program,
    ),
    "config": Format(
        "Configuration", "Rules as JSON, each with the layers it matched", _make_configuration
    ),
    "model-explorer": Format(
        "Model Explorer", "Numbers of layers as node data beside the ONNX file", _make_node_data
    ),
    "netron": Format(
        "Netron", "Numbers of layers as an attachment beside the ONNX file", _make_netron_overlay
    ),
}
"""By the name that the command line has for them."""
