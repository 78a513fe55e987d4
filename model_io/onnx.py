"""Load an ONNX file as a network that can be captured, edited and trained."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from onnx import helper
from torch import Tensor, nn

from model_io.errors import ModelError
from model_io.onnx_import.activation_patterns import ACTIVATIONS
from model_io.onnx_import.batch import free_batch
from model_io.onnx_import.canonical import prune, take_in, widen
from model_io.onnx_import.decisions import decide_branches
from model_io.onnx_import.file import OnnxFile, open_onnx
from model_io.onnx_import.fold import fold
from model_io.onnx_import.layer_patterns import LAYERS
from model_io.onnx_import.network import OnnxNetwork
from model_io.onnx_import.norm_patterns import NORMS
from model_io.onnx_import.places import Place, places_of
from model_io.onnx_import.program import REALS, Input, check_operators, read_program
from model_io.onnx_import.quantized import TensorEncoding, take_out, with_nodes
from model_io.onnx_import.recognise import Recognised, recognise
from model_io.onnx_import.reference import Reference
from model_io.onnx_import.report import ImportReport
from model_io.onnx_import.steps import Program, readable
from model_io.onnx_import.tensors import TensorReader
from model_io.onnx_import.transposes import cancel_transposes
from model_io.onnx_import.verify import Agreement, compare, inputs_like, shapes, verify

TRIAL_BATCH = 3


@dataclass(frozen=True, eq=False)
class Imported:
    """A network from an ONNX file.

    Attributes:
        module: maps inputs (N, *input_shape) to the output; one module for each node, named as it.
        input_shape: of one input, without the batch.
        batch: the only batch size that runs, or None for any.
        report: what the import did.
        encodings: the grids of a file that was quantized already; empty otherwise.
        places: where the file's tensors are in the network, by their names.
    """

    module: nn.Module
    input_shape: tuple[int, ...]
    batch: int | None
    report: ImportReport
    encodings: tuple[TensorEncoding, ...]
    places: dict[str, Place]


def load_onnx(
    path: Path,
    input_shape: tuple[int, ...] = (),
    shown: str = "",
    *,
    alone: bool = False,
    inputs: Tensor | None = None,
) -> Imported:
    """Return the network in an ONNX file, checked beside ONNX Runtime.

    Args:
        path: the file.
        input_shape: of one input, where the file leaves sizes open.
        shown: what sentences call the file; its name by default.
        alone: whether it came without its folder, as an upload does.
        inputs: real ones (N, *input_shape) to check on besides random ones, if there are any.

    Raises:
        ModelError: it cannot come in; the sentence says which node and what to do.
        UnsafeFileError: it would fill the memory, or read what lies outside its folder.
    """
    shown = shown or path.name
    try:
        return _imported(open_onnx(path, shown, alone=alone), input_shape, inputs)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{shown} must be a consistent ONNX file, got one that cannot be read "
            f"({type(error).__name__}). Check it with onnx.checker.check_model, or export it again."
        ) from error


def _imported(file: OnnxFile, input_shape: tuple[int, ...], inputs: Tensor | None) -> Imported:
    """Return the network of a parsed file."""
    counts = Counter(readable(n.op_type) for n in file.model.graph.node if n.op_type != "Constant")
    reader = TensorReader(file.shown, file.folder)
    take_in(file.model, reader)
    prune(file.model.graph)
    widened = widen(file.model)
    encodings = take_out(file.model, file.shown)
    program, source = read_program(file)
    folded = fold(program, file.shown)
    check_operators(program, file.shown, but=("If",))
    transposes = cancel_transposes(program)
    shape, batch = _input_shape(source, program, input_shape, file.shown)
    folded += decide_branches(program, (batch,) if batch else (1, 2, 5), shape, file.shown)
    check_operators(program, file.shown)
    network, freed, recognised, agreement = _network(file, program, source, shape, batch, inputs)
    report = ImportReport(
        readable(file.model.producer_name)[:60], file.opset, tuple(counts.most_common()), folded,
        tuple(recognised), transposes, widened, reader.outside, len(encodings),
        batch if freed else None, agreement.difference, agreement.inputs,
    )  # fmt: skip
    named = with_nodes(encodings, file.model, program.input)
    places = places_of(program, network.paths, named)
    return Imported(network, shape, None if freed else batch, report, named, places)


def _network(
    file: OnnxFile,
    program: Program,
    source: Input,
    shape: tuple[int, ...],
    batch: int | None,
    inputs: Tensor | None,
) -> tuple[OnnxNetwork, bool, list[Recognised], Agreement]:
    """Return (network, whether its batch was freed, what was recognised, how well it agrees)."""
    known = shapes(OnnxNetwork(program), batch or 2, shape)
    recognised = recognise(program, NORMS, known)
    recognised += recognise(program, (*ACTIVATIONS, *LAYERS), known)
    network = OnnxNetwork(program).eval()
    reference = Reference(file.model, source, file.shown)
    agreement = verify(network, reference, inputs_like(source, batch or 2, shape))
    if inputs is not None:
        whole = len(inputs) // batch * batch if batch else len(inputs)
        for piece in inputs[:whole].split(batch or len(inputs)):
            agreement = agreement.and_then(verify(network, reference, piece))
    freed = None if batch is None else _freed(program, reference, source, shape, batch)
    if freed is None:
        return network, False, recognised, agreement
    return freed[0], True, recognised, freed[1]


def _freed(
    program: Program, reference: Reference, source: Input, shape: tuple[int, ...], batch: int
) -> tuple[OnnxNetwork, Agreement] | None:
    """Return a network of the same results for any batch, and its agreement; None if none is."""
    trial = inputs_like(source, TRIAL_BATCH * batch, shape)
    try:
        network = OnnxNetwork(free_batch(program, batch)).eval()
        agreement = compare(network, reference.in_pieces(batch), trial)
    except ModelError:
        return None
    return (network, agreement) if agreement.holds else None


def _input_shape(
    source: Input, program: Program, wish: tuple[int, ...], shown: str
) -> tuple[tuple[int, ...], int | None]:
    """Return (shape of one input, batch size or None for any)."""
    _check_kind(source, program, shown)
    sizes = source.sizes if source.sizes is not None else (None,) * (len(wish) + 1)
    if len(sizes) < 2:
        raise ModelError(
            f"The input of {shown} must have the batch as its first axis and others behind it, got "
            f"{len(sizes)} axes. Export it with a batch axis."
        )
    said = ", ".join("?" if size is None else str(size) for size in sizes[1:])
    if not wish and None in sizes[1:]:
        raise ModelError(
            f"The shape of one input must be known, got ({said}) in {shown}, where ? may be any "
            "size. Give the input's shape, such as 3,224,224."
        )
    fits = len(wish) == len(sizes) - 1 and all(
        size in (None, given) for size, given in zip(sizes[1:], wish, strict=False)
    )
    if wish and not fits:
        raise ModelError(
            f"The input's shape must fit ({said}), which {shown} says of it, got "
            f"({', '.join(map(str, wish))}). Leave it out, or give sizes for the ? alone."
        )
    return wish or tuple(size or 0 for size in sizes[1:]), sizes[0]


def _check_kind(source: Input, program: Program, shown: str) -> None:
    """Raise where the input holds no real numbers, nor whole ones that become real at once."""
    if source.kind in REALS:
        return
    readers = [step for step in program.steps if source.name in step.inputs]
    if all(s.operator == "Cast" and s.attributes.get("to") in REALS for s in readers):
        return
    kind = helper.tensor_dtype_to_string(source.kind).rpartition(".")[2].lower()
    raise ModelError(
        f"The input of {shown} must hold real numbers, such as images, got {kind}. Cut off what "
        "comes before the first real values (such as an embedding) with onnx.utils.extract_model."
    )
