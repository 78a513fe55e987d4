"""The inputs of a file: kinds, sizes, and the sizes that a user must give."""

from collections.abc import Mapping, Sequence

from onnx import TensorProto, helper

from model_io.errors import ModelError, OpenShapeError
from model_io.input_specs import InputSpec, write_input_specs
from model_io.onnx_import.program.read_program import REALS, FileInput
from model_io.onnx_import.program.steps import OnnxProgram, readable_module_name

_WHOLES = (
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.INT16,
    TensorProto.INT8,
    TensorProto.UINT8,
)
_GUESS = {1: 128, 2: 128, 3: 224}
"""What a sentence proposes for an open size, by the number of axes; a person knows better."""


def describe_inputs(
    sources: Sequence[FileInput], program: OnnxProgram, wish: Sequence[InputSpec], shown: str
) -> tuple[tuple[InputSpec, ...], int | None]:
    """Return (inputs, batch size or None for a free batch).

    `wish` gives the sizes that the file leaves open, for the only input or by input name.

    Raises:
        ModelError: a size is unknown or contradicts the file, or an input has no batch axis.
    """
    wishes = _wishes_by_name(sources, wish, shown)
    kinds = [
        _element_kind(source, program, alone=len(sources) == 1, shown=shown) for source in sources
    ]
    alone = len(sources) == 1
    _check_known_sizes(sources, wishes, shown)
    shapes = [
        _sample_shape(source, wishes.get(source.name), shown, alone=alone) for source in sources
    ]
    batches = {source.sizes[0] if source.sizes else None for source in sources}
    if len(batches) > 1:
        said = ", ".join("any" if size is None else str(size) for size in batches)
        raise ModelError(
            "All inputs must have the batch as their first axis, of one size, got the sizes "
            f"{said} in {shown}. Export the network so that all inputs are batched."
        )
    specs = tuple(
        InputSpec(
            readable_module_name(source.name),
            shape,
            kind,
            has_pixels=kind == "float32" and source.kind not in REALS,
        )
        for source, shape, kind in zip(sources, shapes, kinds, strict=True)
    )
    return specs, batches.pop()


def _wishes_by_name(
    sources: Sequence[FileInput], wish: Sequence[InputSpec], shown: str
) -> Mapping[str, InputSpec]:
    """Return the wanted inputs, by the names in the file."""
    if len(sources) == 1 and len(wish) == 1:
        return {sources[0].name: wish[0]}
    names = {readable_module_name(source.name): source.name for source in sources}
    unknown = [one.name for one in wish if one.name not in names]
    if unknown:
        raise ModelError(
            f"Shapes must be given for inputs of {shown} ({', '.join(names)[:200]}), got one for "
            f"{unknown[0][:60] or 'an input without a name'!r}. Write name=sizes for each, with "
            "semicolons between them."
        )
    return {names[one.name]: one for one in wish}


def _check_known_sizes(
    sources: Sequence[FileInput], wishes: Mapping[str, InputSpec], shown: str
) -> None:
    """Raise an error for open sizes that the user left out; one error names every size."""
    missing = [s for s in sources if _has_open_sizes(s) and s.name not in wishes]
    if not missing:
        return
    if len(sources) == 1:
        proposal = "3,224,224" if missing[0].sizes is None else _proposed_option(missing[0])
        raise OpenShapeError(
            f"The shape of one input must be known, got ({_shape_in_words(missing[0])}) in "
            f"{shown}, where ? "
            f"may be any size. Give the input's shape, such as {proposal}.",
            proposal,
        )
    listed = ", ".join(
        f"({_shape_in_words(s)}) for {readable_module_name(s.name)}" for s in missing
    )
    example = write_input_specs(
        [InputSpec(readable_module_name(s.name), _guess_shape(s)) for s in missing]
    )
    raise OpenShapeError(
        f"The shape of every input must be known, got {listed} in {shown}, where ? may be any "
        f"size. Give their shapes, such as {example}.",
        example,
    )


def _has_open_sizes(source: FileInput) -> bool:
    return source.sizes is None or None in source.sizes[1:]


def _shape_in_words(source: FileInput) -> str:
    sizes = source.sizes or (None, None)
    return ", ".join("?" if size is None else str(size) for size in sizes[1:])


def _guess_shape(source: FileInput) -> tuple[int, ...]:
    sizes = (source.sizes or (None, None))[1:]
    return tuple(size or _GUESS.get(len(sizes), 16) for size in sizes)


def _proposed_option(source: FileInput) -> str:
    return ",".join(map(str, _guess_shape(source)))


def _sample_shape(
    source: FileInput, wish: InputSpec | None, shown: str, *, alone: bool
) -> tuple[int, ...]:
    """Return the shape of one sample of an input."""
    if source.sizes is None and wish is not None:
        return wish.shape
    sizes = source.sizes or ()
    whose = "The input" if alone else f"The input {readable_module_name(source.name)[:60]!r}"
    if len(sizes) < (2 if alone else 1):
        raise ModelError(
            f"{whose} of {shown} must have the batch as its first axis and others behind it, got "
            f"{len(sizes)} axes. Export it with a batch axis."
        )
    if wish is None:
        return tuple(size or 0 for size in sizes[1:])
    fits = len(wish.shape) == len(sizes) - 1 and all(
        size in (None, given) for size, given in zip(sizes[1:], wish.shape, strict=True)
    )
    if not fits:
        what = (
            "The input's shape"
            if alone
            else f"The shape of {readable_module_name(source.name)[:60]!r}"
        )
        raise ModelError(
            f"{what} must fit ({_shape_in_words(source)}), which {shown} says of it, got "
            f"({', '.join(map(str, wish.shape))}). Leave it out, or give sizes for the ? alone."
        )
    return wish.shape


def _element_kind(source: FileInput, program: OnnxProgram, *, alone: bool, shown: str) -> str:
    """Return the type of an input's elements in the network."""
    if source.kind in REALS:
        return "float32"
    readers = [step for step in program.steps if source.name in step.inputs]
    cast = all(s.operator == "Cast" and s.attributes.get("to") in REALS for s in readers)
    pixels = source.kind == TensorProto.UINT8 or alone
    if cast and pixels and source.kind != TensorProto.BOOL:
        return "float32"  # pixels that become real at once
    if source.kind == TensorProto.BOOL:
        return "bool"
    if source.kind in _WHOLES:
        return "int64"
    kind = helper.tensor_dtype_to_string(source.kind).rpartition(".")[2].lower()
    raise ModelError(
        f"The inputs of {shown} must hold numbers, got {kind} for "
        f"{readable_module_name(source.name)[:60]!r}. "
        "Cut off what comes before the first numbers with onnx.utils.extract_model."
    )
