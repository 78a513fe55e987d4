"""The place of the file's tensors in the imported network."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from model_io.onnx_import.program.steps import OnnxProgram, OnnxStep, readable_module_name
from model_io.onnx_import.reading.remove_qdq import TensorEncoding

INPUT = "input"
_MATRIX = 1
"""The place of a weight among the inputs of a layer."""
_BIAS_BITS = 32
_STORED = re.compile(r"(.+) \((transposed|flat|linear .+|bias .+)\)")
"""Names of constants that a pattern changed (`layer_patterns`)."""


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """The module at `paths[0]` returns the tensor, or reads the tensor as the weight.

    If the module is a batch norm, which is folded later, `paths` goes on with the module before the
    batch norm. The network's input has the path "input"; one of several inputs has "input:" and the
    name. `flipped` means that the file holds a matrix transposed; `changed` means that the file
    holds other values, or a weight before the folding of a batch norm.
    """

    paths: tuple[str, ...]
    weight: bool = False
    flipped: bool = False
    changed: bool = False


def find_tensor_places(
    program: OnnxProgram, paths: dict[str, str], encodings: Iterable[TensorEncoding] = ()
) -> dict[str, TensorPlace]:
    """Return the places of the tensors that are still in a network, by the names in the file.

    Args:
        program: the program of the network.
        paths: the paths of the modules, by step name.
        encodings: the encodings of removed quantizers; the result of a quantizer stands for the
            tensor.
    """
    several = len(program.input_names) > 1
    found = {
        name: TensorPlace((f"{INPUT}:{readable_module_name(name)}" if several else INPUT,))
        for name in program.input_names
    }
    makers = program.producers_by_value()
    for step in program.steps:
        for name in filter(None, step.outputs):
            found[name] = TensorPlace(tuple(_step_paths(step, makers, paths)))
    for plain, place in _weight_places(program, paths):
        found.setdefault(plain, place)
    for name, real in program.same.items():
        if real in found:
            found.setdefault(name, found[real])
    # a restored ReLU stands between a tensor and the encoding
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
    """Yield the tensors before quantizers with results in the network."""
    held = {step.name: step.inputs[_MATRIX] for step in program.steps if len(step.inputs) > 1}
    for encoding in encodings:
        node = readable_module_name(encoding.node)
        if encoding.value in found:
            yield encoding.tensor, found[encoding.value]
            continue
        # a float weight behind quantizers, folded to a constant
        weight = encoding.constant and encoding.bits < _BIAS_BITS
        if weight and held.get(node, "") in program.constants:
            yield encoding.tensor, _weight_place(held[node], paths[node])[1]


def _step_paths(
    step: OnnxStep, makers: dict[str, OnnxStep], paths: dict[str, str]
) -> Iterable[str]:
    """Yield the path of a step and, for a batch norm, the path of the step before."""
    yield paths[step.name]
    if step.operator == "BatchNormalization" and step.inputs[0] in makers:
        yield paths[makers[step.inputs[0]].name]


def _weight_place(name: str, path: str) -> tuple[str, TensorPlace]:
    """Return (name in the file, place) of a weight, possibly transposed or scaled."""
    match = _STORED.fullmatch(name)
    if match is None:
        return name, TensorPlace((path,), weight=True)
    # the weight of a Gemm without transB is transposed, and scaled by alpha
    flipped = match[2] in ("transposed", "linear 1.0", "linear 1")
    return match[1], TensorPlace((path,), weight=True, flipped=flipped, changed=not flipped)
