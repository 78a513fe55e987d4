"""A model as it came in, wherever from."""

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
    """A float network in eval mode, and what is known of it.

    Attributes:
        name: what to call it on a page: the sample's name or the file's, without folders.
        module: maps inputs (N, *input_shape) to outputs.
        input_shape: of one input, of several the first, without the batch axis; empty where nobody
            told it.
        batch: the one batch size it takes, or None where any will do.
        digest: SHA-256 of what it computes with; equal digests mean equal models.
        origin: where it came from.
        program: what torch.export wrote, where the model came as that; capturing it needs no
            second export.
        report: what the import of an ONNX file did; None for other origins.
        encodings: the grids of an ONNX file that was quantized already.
        places: where the tensors of an ONNX file are in the module, by their names.
        inputs: what it takes, where the source tells more than the shape of one image.
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
        """What it takes, as `analysis.network.prepare` wants it; empty where nobody told it."""
        return self.inputs or self.input_shape

    @property
    def takes_pixels(self) -> bool:
        """Whether the only input is uint8 pixels, 0 to 255, that the network scales itself."""
        return len(self.inputs) == 1 and self.inputs[0].has_pixels

    @property
    def import_notes(self) -> tuple[str, ...]:
        """What reading the file found, a sentence each."""
        return () if self.report is None else tuple(self.report.report_sentences())

    def example_inputs(self, batch: int = 2) -> Tensor:
        """Return zeros in the shape of a batch of inputs; `batch` is ignored where it is fixed.

        Raises:
            ModelError: the input shape is not known.
        """
        if not self.input_shape:
            raise ModelError(
                f"An example needs the input's shape, got none for {self.name}; give it as "
                "channels, height, width."
            )
        return torch.zeros(self.batch or batch, *self.input_shape)
