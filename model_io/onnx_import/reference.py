"""ONNX Runtime as the judge of an import."""

import copy
import re
from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, helper
from torch import Tensor

from model_io.errors import ModelError
from model_io.onnx_import.program.read_program import FileInput, Output

Array = NDArray[np.generic]
_IR_VERSION = 10
_SILENT = 4


class Reference:
    """A file in ONNX Runtime: without optimization, on one thread, in the process."""

    def __init__(
        self, model: ModelProto, sources: Sequence[FileInput], outputs: Sequence[Output], shown: str
    ) -> None:
        self.shown = shown
        self.sources = tuple(sources)
        real = [one.name for one in outputs if one.real]
        self.outputs = real or [outputs[0].name]
        self.piece = 0
        """Inputs to a run, where the file fixes their number; 0 for all at once."""
        self.model = ModelProto()
        self.model.CopyFrom(model)
        # ONNX Runtime refuses versions newer than its own, even without use of new features
        self.model.ir_version = min(self.model.ir_version, _IR_VERSION)
        # ONNX Runtime refuses repeated names too
        for index, node in enumerate(self.model.graph.node):
            node.name = f"{index} {node.name}"
        # unused inputs are left out
        own = {*(one.name for one in sources), *(t.name for t in self.model.graph.initializer)}
        kept = [value for value in self.model.graph.input if value.name in own]
        del self.model.graph.input[:]
        self.model.graph.input.extend(kept)
        self.session = self._open_session(self.model)

    def _open_session(self, model: ModelProto) -> ort.InferenceSession:
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
            raise self._runtime_error("open", error) from None

    def _runtime_error(self, what: str, error: Exception) -> ModelError:
        text = re.sub(r"/\S*/", "", " ".join(str(error).split()))[:240]
        return ModelError(
            f"{self.shown} must be a file that ONNX Runtime can {what}, so that the import can be "
            f"checked beside it; it said: {text}. Export it again."
        )

    def run_reference(
        self, inputs: Sequence[Tensor], session: ort.InferenceSession | None = None
    ) -> list[Array]:
        """Return the outputs for inputs of shape (N, ...), in the form of the network's inputs."""
        values = {
            source.name: x.numpy().astype(helper.tensor_dtype_to_np_dtype(source.kind))
            for source, x in zip(self.sources, inputs, strict=True)
        }
        runner, wanted = session or self.session, None if session else self.outputs
        count = len(inputs[0])
        size = self.piece or count
        try:
            pieces = [
                runner.run(wanted, {name: v[first : first + size] for name, v in values.items()})
                for first in range(0, count, size)
            ]
        except Exception as error:  # noqa: BLE001 (as above)
            raise self._runtime_error("run", error) from None
        if len(pieces) == 1:
            return list(pieces[0])
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def run_in_pieces(self, batch: int) -> "Reference":
        """Return a reference that runs inputs in pieces of the file's own batch."""
        other = copy.copy(self)
        other.piece = batch
        return other

    def with_all_values(self, names: list[str]) -> ort.InferenceSession:
        """Return a session with the given values as outputs."""
        model = ModelProto()
        model.CopyFrom(self.model)
        del model.graph.output[:]
        model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
        return self._open_session(model)
