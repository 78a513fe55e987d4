"""Run the imported network beside ONNX Runtime: a network with another result is refused."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from onnx import helper
from torch import Tensor

from model_io.errors import ModelError, UnsafeFileError
from model_io.input_specs import KINDS, InputSpec
from model_io.onnx_import.program.estimate_memory import (
    bytes_of_results,
    on_meta_device,
    without_memory,
)
from model_io.onnx_import.program.network import OnnxNetwork, Results, step_title
from model_io.onnx_import.program.read_program import FileInput
from model_io.onnx_import.program.steps import OnnxProgram, OnnxStep
from model_io.onnx_import.reference import Array, Reference

LARGEST_DIFFERENCE = 1e-3
"""Of the outputs, relative, beside ONNX Runtime."""
MAX_VALUE_BYTES = 1024**3
_FEW, _PIXELS = 2, 128
_MOVES = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose")
"""Operators through which whole numbers pass unchanged."""


@dataclass(frozen=True)
class ImportAgreement:
    """How far the network and ONNX Runtime lay apart, relative, on a number of inputs."""

    difference: float
    inputs: int

    def merge_with(self, other: "ImportAgreement") -> "ImportAgreement":
        """Return both agreements as one."""
        return ImportAgreement(max(self.difference, other.difference), self.inputs + other.inputs)

    @property
    def networks_agree(self) -> bool:
        """Whether network and reference compute equal results."""
        return self.difference <= LARGEST_DIFFERENCE


def infer_value_shapes(
    network: OnnxNetwork, batch: int, inputs: Sequence[InputSpec]
) -> dict[str, tuple[int, ...]]:
    """Return the shape of every value, found without memory; too large values raise an error.

    Raises:
        UnsafeFileError: a value larger than `MAX_VALUE_BYTES`.
        ModelError: an operator refuses the inputs.
    """
    found = {name: (batch, *one.shape) for name, one in zip(network.inputs, inputs, strict=True)}

    def watch(step: OnnxStep, results: Results) -> None:
        if (size := bytes_of_results(results)) > MAX_VALUE_BYTES:
            raise UnsafeFileError(
                f"A value of the network must hold at most {MAX_VALUE_BYTES} bytes for a batch of "
                f"{batch}, got {size} from {step_title(step)}. Give a smaller input shape."
            )
        for name, result in zip(step.outputs, results, strict=False):
            if isinstance(result, Tensor):
                found[name] = tuple(result.shape)

    with torch.no_grad():
        try:
            with on_meta_device():
                network.run_watched([one.zero_batch(batch) for one in inputs], watch)
        except UnsafeFileError:
            raise
        except (ModelError, RuntimeError):  # an operator that the slower way can run, or explain
            with without_memory():
                network.run_watched([one.zero_batch(batch) for one in inputs], watch)
    return found


def random_trial_inputs(
    program: OnnxProgram, sources: Sequence[FileInput], inputs: Sequence[InputSpec], batch: int
) -> tuple[Tensor, ...]:
    """Return random inputs of shape (batch, *shape): normal, or pixels for integer image inputs.

    Tokens lie within the lookup table of the file; integers of unknown meaning are 0 or 1, like
    masks.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    for source, one in zip(sources, inputs, strict=True):
        size = (batch, *one.shape)
        whole = helper.tensor_dtype_to_np_dtype(source.kind).kind in "iub"
        if one.kind != "float32":
            most = (
                min(lookup_table_rows(program, source.name), default=_FEW)
                if one.kind != "bool"
                else _FEW
            )
            values = torch.randint(0, most, size, generator=generator)
            found.append(values.to(KINDS[one.kind]))
        elif whole:
            found.append(torch.randint(0, _PIXELS, size, generator=generator).float())
        else:
            found.append(torch.randn(size, generator=generator))
    return tuple(found)


def file_typed_inputs(values: Tensor, source: FileInput) -> Tensor:
    """Return real inputs of shape (N, ...) in the file's type, rounded for integer inputs."""
    kind = helper.tensor_dtype_to_np_dtype(source.kind)
    if kind.kind not in "iu" or not values.is_floating_point():
        return values
    limits = np.iinfo(kind)
    return values.round().clamp(limits.min, limits.max)


def lookup_table_rows(program: OnnxProgram, name: str) -> list[int]:
    """Return the numbers of rows of the lookup tables behind an integer input."""
    found = []
    for step in program.consumers_by_value().get(name, []):
        table = program.constants.get(step.inputs[0]) if step.inputs else None
        if step.operator == "Gather" and table is not None and table.dim() > 1:
            found.append(int(table.shape[step.attributes.get("axis", 0)]))
        elif step.operator in _MOVES:
            found += lookup_table_rows(program, step.outputs[0])
    return found


def relative_difference(ours: Array, theirs: Array) -> float:
    """Return the difference of two arrays relative to the second; infinity for unequal shapes.

    The result is the larger of two ratios: of root summed squares, and of largest elements. Two nan
    or two equal infinities agree.
    """
    if ours.shape != theirs.shape:
        return math.inf
    a, b = ours.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    if not (np.isfinite(a) | same).all() or not (np.isfinite(b) | same).all():
        return math.inf
    finite = np.isfinite(b)
    apart, size = np.where(same, 0, a - np.where(finite, b, 0)), b[finite]
    squares = float(np.linalg.norm(apart)), float(np.linalg.norm(size))
    extremes = float(np.abs(apart).max()), float(np.abs(size).max(initial=0.0))
    return max(above / max(below, 1e-12) for above, below in (squares, extremes))


@torch.no_grad()
def compare_outputs(
    network: OnnxNetwork, reference: Reference, x: Sequence[Tensor]
) -> ImportAgreement:
    """Return the largest difference between network and reference for inputs of shape (N, ...)."""
    ours = network.run_watched(x)
    whole = next((output for output in ours if not output.is_floating_point()), None)
    if whole is not None:
        raise ModelError(
            f"A network must return real numbers, got {whole.dtype} from {reference.shown}. Cut "
            "off what follows them (such as ArgMax) with onnx.utils.extract_model."
        )
    pairs = zip(ours, reference.run_reference(x), strict=True)
    return ImportAgreement(max(relative_difference(a.numpy(), b) for a, b in pairs), len(x[0]))


def verify_network(
    network: OnnxNetwork, reference: Reference, x: Sequence[Tensor]
) -> ImportAgreement:
    """Compare the outputs of network and reference for inputs of shape (N, ...).

    Raises:
        ModelError: the outputs differ; the sentence names the first different layer.
    """
    agreement = compare_outputs(network, reference, x)
    if agreement.networks_agree:
        return agreement
    where, there = first_different_step(network, reference, x)
    raise ModelError(
        f"The imported network must compute what ONNX Runtime computes from {reference.shown}, got "
        f"outputs {agreement.difference:.3g} apart (relative; at most {LARGEST_DIFFERENCE}). "
        + (f"The first layer that differs is {where} by {there:.3g}. " if where else "")
        + "Report this file, or export with another opset."
    )


@torch.no_grad()
def first_different_step(
    network: OnnxNetwork, reference: Reference, x: Sequence[Tensor]
) -> tuple[str, float]:
    """Return (first step with another result, difference) for inputs of shape (N, ...).

    Without a difference the name is "".
    """
    ours: dict[str, tuple[OnnxStep, Array]] = {}

    def watch(step: OnnxStep, results: Results) -> None:
        for name, result in zip(step.outputs, results, strict=False):
            if isinstance(result, Tensor) and result.is_floating_point():
                ours[name] = step, result.numpy()

    network.run_watched(x, watch)
    held = {name for node in reference.model.graph.node for name in node.output}
    names = [name for name in ours if name in held]
    theirs = reference.run_reference(x, reference.with_all_values(names)) if names else []
    for name, expected in zip(names, theirs, strict=True):
        apart = relative_difference(ours[name][1], np.asarray(expected))
        if apart > LARGEST_DIFFERENCE:
            return step_title(ours[name][0]), apart
    return "", 0.0
