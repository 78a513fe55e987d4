"""A model as loaded, from a sample, a file or a builder."""

from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from model_io.errors import ModelError
from model_io.input_specs import InputSpec
from model_io.onnx_import.reading.remove_qdq import TensorEncoding
from model_io.onnx_import.report import ImportReport
from model_io.onnx_import.tensor_places import TensorPlace


class ModelOrigin(StrEnum):
    """Where a model came from."""

    SAMPLE = "sample"
    EXPORTED = "torch.export file"
    ONNX = "ONNX file"
    BUILDER = "builder"


@dataclass(frozen=True)
class LoadedModel:
    """A float network in eval mode with the facts from the source.

    Attributes:
        name: name on a page: the name of the sample, or of the file without folders.
        module: maps inputs (N, *input_shape) to outputs.
        input_shape: shape of the first input without the batch axis; empty for unknown shapes.
        batch: the only batch size, or None for a free batch.
        digest: SHA-256 of the computation; equal digests mean equal models.
        origin: source of the model.
        program: the program of torch.export for a model from a `.pt2` file; capturing the program
            needs no second export.
        report: the report of an ONNX import; None for other origins.
        encodings: the encodings of a quantized ONNX file.
        places: the place of every ONNX tensor in the module, by tensor name.
        inputs: the inputs, for sources that tell more than one image shape.
    """

    name: str
    module: nn.Module
    input_shape: tuple[int, ...]
    batch: int | None
    digest: str
    origin: ModelOrigin
    program: ExportedProgram | None = None
    report: ImportReport | None = None
    encodings: tuple[TensorEncoding, ...] = field(default=())
    places: dict[str, TensorPlace] = field(default_factory=dict)
    inputs: tuple[InputSpec, ...] = ()

    @property
    def expected_inputs(self) -> tuple[int, ...] | tuple[InputSpec, ...]:
        """The inputs for `analysis.network.prepare_network`; empty for unknown shapes."""
        return self.inputs or self.input_shape

    @property
    def takes_pixels(self) -> bool:
        """Whether the only input is whole pixels, 0 to 255, that the network scales itself."""
        return len(self.inputs) == 1 and self.inputs[0].has_pixels

    @property
    def import_notes(self) -> tuple[str, ...]:
        """The findings of reading the file, one sentence for each finding."""
        return () if self.report is None else tuple(self.report.report_sentences())

    def example_inputs(self, batch: int = 2) -> Tensor:
        """Return zeros of shape (batch, *input_shape); a fixed batch overrides `batch`.

        Raises:
            ModelError: the input shape is unknown.
        """
        if not self.input_shape:
            raise ModelError(
                f"An example needs the input's shape, got none for {self.name}; give it as "
                "channels, height, width."
            )
        return torch.zeros(self.batch or batch, *self.input_shape)
