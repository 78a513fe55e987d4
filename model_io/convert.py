"""An imported network as a `.pt2` file; later sessions read the file without a new import."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model_io.errors import ModelError
from model_io.load import load_model
from model_io.loaded_model import LoadedModel
from quant.graph.capture import capture_graph
from quant.graph.float_graph import FloatGraph
from quant.graph.tracing.export_program import export_torch_program
from quant.inputs import draw_batch, tensors_of_batch
from quant.torch_state import exclusive_torch

TRIAL = 2
SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Converted:
    """The result of a conversion.

    Attributes:
        layers: names of the layers; network and file agree.
        size_bytes: size of the file.
        difference: the largest relative difference between the outputs of file and network.
        batch: the only batch size, or None for a free batch.
        notes: the losses of the file, a sentence for each loss.
        imported: the report of an ONNX import; None for other sources.
    """

    layers: tuple[str, ...]
    size_bytes: int
    difference: float
    batch: int | None
    notes: tuple[str, ...]
    imported: dict[str, Any] | None


def convert_to_pt2(loaded: LoadedModel, out: Path) -> Converted:
    """Write a network as `.pt2`, read the file back, and check the agreement.

    Raises:
        ModelError: `out` has another ending, or the network in the file differs.
        CaptureError: torch.export cannot trace the network.
    """
    if out.suffix != ".pt2":
        raise ModelError(f"The file to write must end in .pt2; got {out.name}. Rename it.")
    program = loaded.program or export_torch_program(
        loaded.module, loaded.expected_inputs, loaded.batch
    )
    held = io.BytesIO()
    with exclusive_torch():
        torch.export.save(program, held)
    out.write_bytes(held.getvalue())
    back = load_model(out)
    before = capture_graph(loaded.program or loaded.module, loaded.expected_inputs, loaded.batch)
    after = capture_graph(back.program or back.module, back.expected_inputs, back.batch)
    layers = tuple(layer.name for layer in before.layers)
    names = tuple(layer.name for layer in after.layers)
    if names != layers:
        lost = next((a for a, b in zip(layers, names, strict=False) if a != b), "the last ones")
        raise ModelError(
            f"The file must give the layers their names back; it does not for {lost!r}. Use the "
            "model as it is and report it."
        )
    left = (
        f"The file holds the float network; {len(loaded.encodings)} encodings of the quantized "
        "file stay behind. Export encodings to keep them."
    )
    notes = (left,) if loaded.encodings else ()
    report = None if loaded.report is None else asdict(loaded.report)
    return Converted(
        layers, len(held.getvalue()), _output_difference(before, after), after.batch, notes, report
    )


def _output_difference(before: FloatGraph, after: FloatGraph) -> float:
    """Return how far two networks lie apart on random inputs.

    Raises:
        ModelError: further than float32 rounds.
    """
    inputs = draw_batch(before.inputs, before.batch or TRIAL)
    with torch.inference_mode():
        pairs = list(
            zip(
                tensors_of_batch(before.run(inputs)),
                tensors_of_batch(after.run(inputs)),
                strict=True,
            )
        )
    found = max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) for a, b in pairs)
    if not found <= SAME:
        raise ModelError(f"The file must compute the same; it lies {found:.1e} apart. Report it.")
    return found
