"""An exported artefact: files, the checks of the files, and the next command."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from onnx import ModelProto, checker
from torch import Tensor

from model_io.artefacts.viewer_overlays import LayerNumber
from model_io.encodings.export_encodings import model_with_quantized_weights
from model_io.errors import ModelError
from model_io.onnx_export.float_onnx import MarkedOnnx, export_marked_onnx
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.inputs import FEW, KINDS
from quant.simulation.quant_graph import QuantGraph

TRIAL = 16
"""Inputs that a file is tried on."""


@dataclass(frozen=True)
class ArtefactSource:
    """A calibrated, repaired simulation and the facts about the network.

    Attributes:
        name: name of the files, without an ending.
        graph: the float network before quantization, after equalization and other float passes.
        quantized: the simulated network to export.
        config: the configuration of `quantized`.
        metrics: numbers of the layers, for viewers.
        inputs: real inputs to test files on, one tensor of shape (N, ...) for each input of the
            network; empty means random inputs.
        model: the name of the network on the command line.
    """

    name: str
    graph: FloatGraph
    quantized: QuantGraph
    config: QuantConfig
    metrics: tuple[LayerNumber, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    model: str = "MODEL"

    @property
    def trial_inputs(self) -> tuple[Tensor, ...]:
        """Inputs of the file checks: one tensor of shape (N, ...) for each input of the network."""
        return self.inputs or random_trial_inputs(self.graph, TRIAL)

    @property
    def trial_description(self) -> str:
        """The inputs of the file checks in words."""
        count = len(self.trial_inputs[0])
        return f"{count} {'inputs' if self.inputs else 'random inputs'}"

    @cached_property
    def marked_onnx(self) -> MarkedOnnx:
        """The network as float ONNX, built once for all formats."""
        return export_marked_onnx(self.quantized)

    @cached_property
    def checked_float_onnx(self) -> bytes:
        """The network as checked float ONNX with quantized weights."""
        return serialize_checked_model(
            model_with_quantized_weights(self.quantized, self.marked_onnx)
        )


@dataclass(frozen=True, slots=True)
class Artefact:
    """Files that belong together, the main file first.

    Attributes:
        files: the content of a file by file name.
        checks: the results of the file checks, one sentence for a check.
        notes: limits and warnings, one sentence for a note.
        command: the shell line of the next tool, for the folder of the files.
    """

    files: dict[str, bytes]
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    command: str

    @property
    def main_file(self) -> str:
        """The name of the first file."""
        return next(iter(self.files))

    @property
    def size_bytes(self) -> int:
        """The total size of the files."""
        return sum(map(len, self.files.values()))

    def pack_files(self, name: str) -> tuple[str, bytes]:
        """Return (name, content) of one file for the user: the only file, or a zip of the files."""
        if len(self.files) == 1:
            return self.main_file, self.files[self.main_file]
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, content in self.files.items():
                archive.writestr(file, content)
        return f"{name}.zip", held.getvalue()


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of artefact: title, audience, and maker function."""

    title: str
    purpose: str
    make: Callable[[ArtefactSource], Artefact]


def random_trial_inputs(graph: FloatGraph, count: int) -> tuple[Tensor, ...]:
    """Return random inputs, one tensor of shape (N, ...) for each input of the network.

    A fixed seed gives equal inputs at every call. N is `count`, or the fixed batch of the network.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    for one in graph.inputs:
        shape = (graph.batch or count, *one.shape)
        if one.real:
            found.append(torch.randn(shape, generator=generator))
        else:
            whole = torch.randint(0, one.below or FEW, shape, generator=generator)
            found.append(whole.to(KINDS[one.kind]))
    return tuple(found)


def serialize_checked_model(model: ModelProto) -> bytes:
    """Return a model as the bytes of a file that the ONNX checker accepts.

    Raises:
        ModelError: the ONNX checker refuses the model.
    """
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, ValueError) as error:
        raise ModelError(f"The ONNX file must be valid, and is not: {str(error)[:200]}") from error
    content: bytes = model.SerializeToString()
    return content
