"""Load an ONNX file as a network that QuantScope can capture, edit and train."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from model_io.errors import ModelError
from model_io.input_specs import InputSpec
from model_io.onnx_import.patterns.activations import ACTIVATIONS
from model_io.onnx_import.patterns.layers import LAYERS
from model_io.onnx_import.patterns.norms import NORMS
from model_io.onnx_import.patterns.recognise import Recognised, recognise_patterns
from model_io.onnx_import.program.decide_branches import decide_branches
from model_io.onnx_import.program.fold_constants import cancel_transposes, fold_constant_steps
from model_io.onnx_import.program.free_batch import free_fixed_batch
from model_io.onnx_import.program.input_shapes import describe_inputs
from model_io.onnx_import.program.network import OnnxNetwork
from model_io.onnx_import.program.read_program import (
    FileInput,
    Output,
    check_known_operators,
    read_program,
)
from model_io.onnx_import.program.steps import OnnxProgram, readable_module_name
from model_io.onnx_import.reading.normalize import (
    prune_unused_nodes,
    take_in_tensors,
    widen_half_precision,
)
from model_io.onnx_import.reading.open_file import OnnxFile, open_onnx_file
from model_io.onnx_import.reading.remove_qdq import (
    TensorEncoding,
    encodings_with_nodes,
    take_out_quantizers,
)
from model_io.onnx_import.reading.sequences import take_out_sequences
from model_io.onnx_import.reading.tensors import TensorReader
from model_io.onnx_import.reference import Reference
from model_io.onnx_import.report import ImportReport
from model_io.onnx_import.tensor_places import TensorPlace, find_tensor_places
from model_io.onnx_import.verify import (
    ImportAgreement,
    compare_outputs,
    file_typed_inputs,
    infer_value_shapes,
    random_trial_inputs,
    verify_network,
)

TRIAL_BATCH = 3
CHECKED_INPUTS = 16
"""Real ones on which an import is checked once they are there."""


@dataclass(frozen=True, eq=False)
class Imported:
    """A network from an ONNX file.

    Attributes:
        module: maps inputs (N, *input_shape) to the output, or to a tuple of outputs; one module
            for each node, with the node's name.
        input_shape: shape of the first input, without the batch.
        batch: the only batch size, or None for a free batch.
        report: the report of the import.
        encodings: the encodings of a quantized file; empty for float files.
        places: the place of every file tensor in the network, by tensor name.
        inputs: the inputs of the network, in the order of the arguments.
        given: the agreement on the user's inputs; None without inputs.
    """

    module: nn.Module
    input_shape: tuple[int, ...]
    batch: int | None
    report: ImportReport
    encodings: tuple[TensorEncoding, ...]
    places: dict[str, TensorPlace]
    inputs: tuple[InputSpec, ...] = ()
    given: ImportAgreement | None = None


def load_onnx_network(
    path: Path,
    input_shape: tuple[int, ...] | tuple[InputSpec, ...] = (),
    shown: str = "",
    *,
    alone: bool = False,
    inputs: Tensor | tuple[Tensor, ...] | None = None,
) -> Imported:
    """Return the network in an ONNX file, checked beside ONNX Runtime.

    Args:
        path: the file.
        input_shape: shape of one input, for open sizes in the file; for several inputs by name.
        shown: the name of the file in sentences; the file's name by default.
        alone: whether the file came without a folder, like an upload.
        inputs: real inputs (N, *input_shape) to check on besides random inputs, or None.

    Raises:
        ModelError: QuantScope cannot import the file; the sentence names node and remedy.
        UnsafeFileError: the file would fill the memory, or read outside the folder.
    """
    shown = shown or path.name
    try:
        wish = tuple(s for s in input_shape if isinstance(s, InputSpec))
        plain = tuple(size for size in input_shape if isinstance(size, int))
        if plain:
            wish = (InputSpec("", plain),)
        given = (inputs,) if isinstance(inputs, Tensor) else inputs
        return _import_parsed_file(open_onnx_file(path, shown, alone=alone), wish, given)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{shown} must be a consistent ONNX file, got one that cannot be read "
            f"({type(error).__name__}). Check it with onnx.checker.check_model, or export it again."
        ) from error


def check_onnx_agreement(
    path: Path,
    wish: tuple[InputSpec, ...],
    shown: str = "",
    *,
    alone: bool = False,
    inputs: tuple[Tensor, ...],
) -> ImportAgreement:
    """Run an imported file beside ONNX Runtime once more, on real inputs of shape (N, ...).

    Args:
        path: the file.
        wish: the inputs of the file, as in `Imported.inputs`.
        shown: the name of the file in sentences; the file's name by default.
        alone: whether the file came without a folder, like an upload.
        inputs: a tensor (N, ...) for each input.

    Raises:
        ModelError: the outputs differ; the sentence names the first different layer.
    """
    found = load_onnx_network(path, wish, shown, alone=alone, inputs=inputs).given
    return ImportAgreement(0.0, 0) if found is None else found


def _import_parsed_file(
    file: OnnxFile, wish: tuple[InputSpec, ...], real: tuple[Tensor, ...] | None
) -> Imported:
    """Return the network of a parsed file, checked on real inputs of shape (N, ...) or None."""
    counts = Counter(
        readable_module_name(n.op_type) for n in file.model.graph.node if n.op_type != "Constant"
    )
    reader = TensorReader(file.shown, file.folder)
    take_in_tensors(file.model, reader)
    take_out_sequences(file.model.graph)
    prune_unused_nodes(file.model.graph)
    widened = widen_half_precision(file.model)
    encodings = take_out_quantizers(file.model, file.shown)
    program, sources, outputs = read_program(file)
    folded = fold_constant_steps(program, file.shown)
    check_known_operators(program, file.shown, but=("If",))
    transposes = cancel_transposes(program)
    inputs, batch = describe_inputs(sources, program, wish, file.shown)
    folded += decide_branches(program, (batch,) if batch else (1, 2, 5), inputs, file.shown)
    check_known_operators(program, file.shown)
    trial = ImportTrial(inputs, sources, outputs, batch, real)
    network, freed, recognised, agreement, given = _build_network(file, program, trial)
    left_out = tuple(readable_module_name(o.name)[:60] for o in outputs if not o.real)
    report = ImportReport(
        readable_module_name(file.model.producer_name)[:60],
        file.opset,
        tuple(counts.most_common()),
        folded,
        tuple(recognised),
        transposes,
        widened,
        reader.outside,
        len(encodings),
        batch if freed else None,
        agreement.difference,
        agreement.inputs,
        left_out,
    )
    named = encodings_with_nodes(encodings, file.model, program.input)
    places = find_tensor_places(program, network.paths, named)
    return Imported(
        network, inputs[0].shape, None if freed else batch, report, named, places, inputs, given
    )


@dataclass(frozen=True, eq=False)
class ImportTrial:
    """The trial of a network: inputs and outputs, batch, and real inputs or None."""

    inputs: tuple[InputSpec, ...]
    sources: tuple[FileInput, ...]
    outputs: tuple[Output, ...]
    batch: int | None
    given: tuple[Tensor, ...] | None


def _build_network(
    file: OnnxFile, program: OnnxProgram, trial: ImportTrial
) -> tuple[OnnxNetwork, bool, list[Recognised], ImportAgreement, ImportAgreement | None]:
    """Return (network, whether the batch was freed, recognised operators, agreement, agreement).

    The last agreement counts the user's inputs alone.
    """
    batch = trial.batch
    known = infer_value_shapes(OnnxNetwork(program), batch or 2, trial.inputs)
    drawn = random_trial_inputs(program, trial.sources, trial.inputs, TRIAL_BATCH * (batch or 2))
    recognised = recognise_patterns(program, NORMS, known)
    recognised += recognise_patterns(program, (*ACTIVATIONS, *LAYERS), known)
    network = OnnxNetwork(program).eval()
    reference = Reference(file.model, trial.sources, trial.outputs, file.shown)
    first = [values[: batch or 2] for values in drawn]
    agreement = verify_network(network, reference, first)
    given = _agreement_on_inputs(network, reference, trial)
    agreement = agreement if given is None else agreement.merge_with(given)
    freed = None if batch is None else _free_batch_network(program, reference, drawn, batch)
    if freed is None:
        return network, False, recognised, agreement, given
    return freed[0], True, recognised, freed[1], given


def _agreement_on_inputs(
    network: OnnxNetwork, reference: Reference, trial: ImportTrial
) -> ImportAgreement | None:
    """Return the agreement on the user's inputs; None without inputs.

    If the file fixes the batch, copies of the first input fill the last batch.
    """
    if trial.given is None or not len(trial.given[0]):
        return None
    count = len(trial.given[0])
    size = trial.batch or count
    missing = -count % size
    filled = [
        torch.cat([v, v[:1].expand(missing, *v.shape[1:])])
        for v in (file_typed_inputs(x, s) for x, s in zip(trial.given, trial.sources, strict=True))
    ]
    pieces = zip(*(values.split(size) for values in filled), strict=True)
    worst = max(verify_network(network, reference, piece).difference for piece in pieces)
    return ImportAgreement(worst, count)


def _free_batch_network(
    program: OnnxProgram, reference: Reference, trial: Sequence[Tensor], batch: int
) -> tuple[OnnxNetwork, ImportAgreement] | None:
    """Return a network for every batch and the agreement on inputs of shape (N, ...), or None."""
    try:
        network = OnnxNetwork(free_fixed_batch(program, batch)).eval()
        agreement = compare_outputs(network, reference.run_in_pieces(batch), trial)
    except ModelError:
        return None
    return (network, agreement) if agreement.networks_agree else None
