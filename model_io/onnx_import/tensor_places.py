"""Where the tensors of a file are in the network that was made of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from model_io.onnx_import.program.steps import OnnxProgram, OnnxStep, readable
from model_io.onnx_import.reading.remove_qdq import TensorEncoding

INPUT = "input"
_MATRIX = 1
"""The place of a weight among the inputs of a layer."""
_BIAS_BITS = 32
_STORED = re.compile(r"(.+) \((transposed|flat|linear .+|bias .+)\)")
"""Names of constants that a pattern changed (`layer_patterns`)."""


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """The module at `paths[0]` gives this tensor, or reads it as its weight.

    `paths` goes on with what stands before the module, where that is a batch norm, which is folded
    away later; the network's input has the path "input", of several each
    "input:" and its name. `flipped` says that the file holds a
    matrix with its axes the other way round, `changed` that it holds other values, or a weight as
    it was before a batch norm behind it.
    """

    paths: tuple[str, ...]
    weight: bool = False
    flipped: bool = False
    changed: bool = False


def find_tensor_places(
    program: OnnxProgram, paths: dict[str, str], encodings: Iterable[TensorEncoding] = ()
) -> dict[str, TensorPlace]:
    """Return the places of the tensors that are in a network still, by their names in the file.

    Args:
        program: what the network was made of.
        paths: of the modules, by the names of steps.
        encodings: of quantizers that were taken out, whose results stand for their tensors.
    """
    several = len(program.inputs) > 1
    found = {
        name: TensorPlace((f"{INPUT}:{readable(name)}" if several else INPUT,))
        for name in program.inputs
    }
    makers = program.producers()
    for step in program.steps:
        for name in filter(None, step.outputs):
            found[name] = TensorPlace(tuple(_step_paths(step, makers, paths)))
    for plain, place in _weight_places(program, paths):
        found.setdefault(plain, place)
    for name, real in program.same.items():
        if real in found:
            found.setdefault(name, found[real])
    # a ReLU that its quantizer stood in for comes between a tensor and its grid
    found |= dict(_quantized_tensor_places(program, paths, encodings, found))
    return found


def _weight_places(
    program: OnnxProgram, paths: dict[str, str]
) -> Iterable[tuple[str, TensorPlace]]:
    for step in program.steps:
        for name in step.inputs[_MATRIX : _MATRIX + 1]:
            if name in program.constants:
                yield _weight_place(name, paths[step.name])


def _quantized_tensor_places(
    program: OnnxProgram,
    paths: dict[str, str],
    encodings: Iterable[TensorEncoding],
    found: dict[str, TensorPlace],
) -> Iterable[tuple[str, TensorPlace]]:
    """Yield the tensors before quantizers whose results are in the network."""
    held = {step.name: step.inputs[_MATRIX] for step in program.steps if len(step.inputs) > 1}
    for encoding in encodings:
        node = readable(encoding.node)
        if encoding.value in found:
            yield encoding.tensor, found[encoding.value]
            continue
        # a float weight that passed quantizers, and was computed once
        weight = encoding.constant and encoding.bits < _BIAS_BITS
        if weight and held.get(node, "") in program.constants:
            yield encoding.tensor, _weight_place(held[node], paths[node])[1]


def _step_paths(
    step: OnnxStep, makers: dict[str, OnnxStep], paths: dict[str, str]
) -> Iterable[str]:
    """Yield the path of a step and, where it is a batch norm, of what stands before it."""
    yield paths[step.name]
    if step.operator == "BatchNormalization" and step.inputs[0] in makers:
        yield paths[makers[step.inputs[0]].name]


def _weight_place(name: str, path: str) -> tuple[str, TensorPlace]:
    """Return (name in the file, place) of a weight, which may have been transposed or scaled."""
    match = _STORED.fullmatch(name)
    if match is None:
        return name, TensorPlace((path,), weight=True)
    # a Gemm without transB is flipped, and scaled by its alpha
    flipped = match[2] in ("transposed", "linear 1.0", "linear 1")
    return match[1], TensorPlace((path,), weight=True, flipped=flipped, changed=not flipped)
