"""Run the imported network beside ONNX Runtime: what it computes is right, or it is refused."""

import copy
import math
import re
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import ModelProto, helper
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from model_io.errors import ModelError, UnsafeFileError
from model_io.onnx_import.fold import bytes_of
from model_io.onnx_import.network import OnnxNetwork, Results, title
from model_io.onnx_import.program import Input
from model_io.onnx_import.steps import Step

LARGEST_DIFFERENCE = 1e-3
"""Of the outputs, relative, beside ONNX Runtime."""
MAX_VALUE_BYTES = 1024**3
_IR_VERSION = 10
_SILENT = 4
Array = NDArray[np.generic]


@dataclass(frozen=True)
class Agreement:
    """How far the network and ONNX Runtime lay apart, relative, on a number of inputs."""

    difference: float
    inputs: int


def shapes(
    network: OnnxNetwork, batch: int, input_shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Return the shape of every value, found without memory; refuse what would fill it.

    Raises:
        UnsafeFileError: a value larger than `MAX_VALUE_BYTES`.
        ModelError: an operator that cannot take its inputs.
    """
    found: dict[str, tuple[int, ...]] = {}

    def watch(step: Step, results: Results) -> None:
        if (size := bytes_of(results)) > MAX_VALUE_BYTES:
            raise UnsafeFileError(
                f"A value of the network must hold at most {MAX_VALUE_BYTES} bytes for a batch of "
                f"{batch}, got {size} from {title(step)}. Give a smaller input shape."
            )
        for name, result in zip(step.outputs, results, strict=False):
            if isinstance(result, Tensor):
                found[name] = tuple(result.shape)

    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        network.run(torch.empty(batch, *input_shape), watch)
    return found


class Reference:
    """A file as ONNX Runtime runs it: without optimization, on one thread, in this process."""

    def __init__(self, model: ModelProto, source: Input, shown: str) -> None:
        self.shown = shown
        self.source = source
        self.piece = 0
        """Inputs to a run, where the file fixes their number; 0 for all at once."""
        self.model = ModelProto()
        self.model.CopyFrom(model)
        # ONNX Runtime refuses versions newer than its own, though nothing of them is used
        self.model.ir_version = min(self.model.ir_version, _IR_VERSION)
        self.session = self._open(self.model)

    def _open(self, model: ModelProto) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        options.enable_cpu_mem_arena = False
        try:
            return ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 (the library raises anything)
            raise self._failed("open", error) from None

    def _failed(self, what: str, error: Exception) -> ModelError:
        text = re.sub(r"/\S*/", "", " ".join(str(error).split()))[:240]
        return ModelError(
            f"{self.shown} must be a file that ONNX Runtime can {what}, so that the import can be "
            f"checked beside it; it said: {text}. Export it again."
        )

    def run(self, x: Tensor, session: ort.InferenceSession | None = None) -> list[Array]:
        """Return the outputs for inputs in float32."""
        values = x.numpy().astype(helper.tensor_dtype_to_np_dtype(self.source.kind))
        runner = session or self.session
        try:
            pieces = [
                runner.run(None, {self.source.name: values[first : first + (self.piece or len(x))]})
                for first in range(0, len(x), self.piece or len(x))
            ]
        except Exception as error:  # noqa: BLE001 (as above)
            raise self._failed("run", error) from None
        if len(pieces) == 1:
            return list(pieces[0])
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def in_pieces(self, batch: int) -> "Reference":
        """Return the same reference, which runs inputs in pieces of the file's own batch."""
        other = copy.copy(self)
        other.piece = batch
        return other

    def with_all_values(self, names: list[str]) -> ort.InferenceSession:
        """Return a session whose outputs are these values."""
        model = ModelProto()
        model.CopyFrom(self.model)
        del model.graph.output[:]
        model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
        return self._open(model)


def inputs_like(source: Input, batch: int, input_shape: tuple[int, ...]) -> Tensor:
    """Return random inputs: normal ones, or whole numbers up to 255 where the file wants these."""
    generator = torch.Generator().manual_seed(0)
    size = (batch, *input_shape)
    if helper.tensor_dtype_to_np_dtype(source.kind).kind in "iu":
        return torch.randint(0, 128, size, generator=generator).float()
    return torch.randn(size, generator=generator)


def difference(ours: Array, theirs: Array) -> float:
    """Return how far two arrays lie apart, relative to the second; infinity for other shapes.

    The larger of two: by the roots of summed squares, and by the greatest element. Places where
    both have no number, or the same infinity, agree.
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
def verify(network: OnnxNetwork, reference: Reference, x: Tensor) -> Agreement:
    """Compare the network's output with the reference's.

    Raises:
        ModelError: they differ; the sentence names the first layer that does.
    """
    apart = difference(network.run(x).numpy(), reference.run(x)[0])
    if apart <= LARGEST_DIFFERENCE:
        return Agreement(apart, len(x))
    where, there = first_difference(network, reference, x)
    raise ModelError(
        f"The imported network must compute what ONNX Runtime computes from {reference.shown}, got "
        f"outputs that differ by {apart:.3g} (relative; at most {LARGEST_DIFFERENCE}). "
        + (f"The first layer that differs is {where} by {there:.3g}. " if where else "")
        + "Report this file, or export with another opset."
    )


@torch.no_grad()
def first_difference(network: OnnxNetwork, reference: Reference, x: Tensor) -> tuple[str, float]:
    """Return (the first step whose result differs, by how much); "" where none does."""
    ours: dict[str, tuple[Step, Array]] = {}

    def watch(step: Step, results: Results) -> None:
        for name, result in zip(step.outputs, results, strict=False):
            if isinstance(result, Tensor) and result.is_floating_point():
                ours[name] = step, result.numpy()

    network.run(x, watch)
    held = {name for node in reference.model.graph.node for name in node.output}
    names = [name for name in ours if name in held]
    theirs = reference.run(x, reference.with_all_values(names)) if names else []
    for name, expected in zip(names, theirs, strict=True):
        apart = difference(ours[name][1], np.asarray(expected))
        if apart > LARGEST_DIFFERENCE:
            return title(ours[name][0]), apart
    return "", 0.0
