"""Exported files as ONNX Runtime executes them on the machine."""

import re
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import ModelProto, helper
from torch import Tensor

from model_io.errors import ModelError
from quant.inputs import Inputs, Outputs, as_network_inputs, tensors_of_batch

_SILENT = 4
# Otherwise ONNX Runtime quantizes float weights and biases between two Q/DQ pairs by itself.
_UNWANTED = ["WeightBiasQuantization"]
_INTEGER = re.compile(r"^(QLinear|QGemm|MatMulInteger|ConvInteger|DynamicQuantizeMatMul|Nhwc)")


class RuntimeSession:
    """One model in ONNX Runtime, callable like a graph.

    With `optimize`, ONNX Runtime fuses operations, and Q/DQ pairs into integer kernels.
    """

    def __init__(
        self,
        model: ModelProto,
        *,
        optimize: bool = True,
        threads: int = 1,
        values: Sequence[str] = (),
    ) -> None:
        self.model = _expose_values(model, values) if values else model
        self._inputs = [value.name for value in model.graph.input]
        levels = ort.GraphOptimizationLevel
        self._session = _open_session(
            self.model, levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL, threads
        )

    def __call__(self, inputs: Inputs) -> Tensor:
        """Return the (first) output for inputs of shape (N, ...)."""
        return tensors_of_batch(self.run(inputs))[0]

    def run(self, inputs: Inputs) -> Outputs:
        """Return the outputs for inputs of shape (N, ...)."""
        return as_network_inputs(self.run_values(inputs))

    def run_values(self, inputs: Inputs) -> list[Tensor]:
        """Return the requested values (without a request the outputs), of shape (N, ...)."""
        feed = {
            name: np.ascontiguousarray(part.numpy())
            for name, part in zip(self._inputs, tensors_of_batch(inputs), strict=True)
        }
        try:
            found: list[NDArray[np.generic]] = self._session.run(None, feed)
        except Exception as error:  # noqa: BLE001 (the library raises anything)
            raise _runtime_refusal("run", error) from None
        return [torch.from_numpy(value) for value in found]


def open_bytes(content: bytes) -> RuntimeSession:
    """Return an ONNX file in ONNX Runtime, as another program would open it.

    Raises:
        ModelError: ONNX Runtime does not take the file.
    """
    return RuntimeSession(onnx.load_from_string(content))


_SHARED_WEIGHT = "AddInitializerWithOrtValue"
"""In what ONNX Runtime says when it cannot turn one weight for two nodes."""


def executed_operators(model: ModelProto, threads: int = 1) -> dict[str, str]:
    """Return the operator that ONNX Runtime executes for each remaining node, by node name.

    A fused node keeps the name of the operation, equal to the name of QuantScope's layer.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "executed.onnx")
        _open_session(model, ort.GraphOptimizationLevel.ORT_ENABLE_ALL, threads, path)
        nodes = onnx.load(path).graph.node
    # ONNX Runtime adds a number to the name of a node in another memory layout
    return {re.sub(r"_token_\d+$", "", node.name): node.op_type for node in nodes}


def is_integer_operator(operator: str) -> bool:
    """Whether an operator of ONNX Runtime multiplies and adds whole numbers."""
    return bool(_INTEGER.match(operator))


def _open_session(
    model: ModelProto, level: object, threads: int, path: Path | None = None
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _SILENT
    if path is not None:
        options.optimized_model_filepath = str(path)
    if not _has_vnni():
        # an x86 without VNNI adds pairs of uint8 x int8 products in 16 bits and saturates; then
        # ONNX Runtime must use uint8 weights, which are slower
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return ort.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_UNWANTED,
        )
    except Exception as error:  # noqa: BLE001 (as above)
        if level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL and _SHARED_WEIGHT in str(error):
            # on processors with uint8 weights, ONNX Runtime 1.31 converts a shared weight twice and
            # refuses the second conversion; the file then runs node by node without integer kernels
            return _open_session(model, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, threads, path)
        raise _runtime_refusal("open", error) from None


@cache
def _has_vnni() -> bool:
    """Whether the processor adds products of bytes in 32 bits, as far as can be known."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _expose_values(model: ModelProto, values: Sequence[str]) -> ModelProto:
    """Return a copy of the model with the given values as outputs."""
    copied = ModelProto()
    copied.CopyFrom(model)
    del copied.graph.output[:]
    copied.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in values)
    return copied


def _runtime_refusal(what: str, error: Exception) -> ModelError:
    text = re.sub(r"/\S*/", "", " ".join(str(error).split()))[:240]
    return ModelError(
        f"ONNX Runtime must {what} the exported file, so that it can be checked; it said: {text}. "
        "Export it without the check, or with 8 bits."
    )
