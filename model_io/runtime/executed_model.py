"""An exported network as the machine executes it: float, in integers, and value by value."""

from dataclasses import dataclass

from torch import Tensor

from model_io.qdq_export.export_qdq import QdqOnnx
from model_io.runtime.onnx_runtime import RuntimeSession, executed_operators, is_integer_operator
from quant.inputs import Inputs


@dataclass(frozen=True, eq=False, slots=True)
class ExecutedFile:
    """The runtime of an exported file, for `analysis.deployment.runtime_check`.

    Attributes:
        floats: the float file, optimized.
        integers: the quantized file, optimized, with the integer kernels of the runtime.
        plain: the quantized file, node by node in float32.
        operators: the operator that executes a layer in `integers`, by layer; fused layers and
            layers without a node are left out.
        threads: number of threads of a run.
    """

    floats: RuntimeSession
    integers: RuntimeSession
    plain: RuntimeSession
    operators: dict[str, str]
    threads: int
    _values: RuntimeSession
    _sites: tuple[str, ...]

    @property
    def integer_layers(self) -> frozenset[str]:
        """The layers that multiply and add integers."""
        return frozenset(name for name, kind in self.operators.items() if is_integer_operator(kind))

    def layer_values(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the quantized output of each layer, of shape (N, ...), computed node by node."""
        return dict(zip(self._sites, self._values.run_values(inputs), strict=True))


def open_exported_model(made: QdqOnnx, threads: int = 1) -> ExecutedFile:
    """Open an exported network in ONNX Runtime in the three modes of a check.

    Raises:
        ModelError: ONNX Runtime refuses the file.
    """
    executed = executed_operators(made.model, threads)
    nodes = made.marked.nodes
    return ExecutedFile(
        floats=RuntimeSession(made.marked.model, threads=threads),
        integers=RuntimeSession(made.model, threads=threads),
        plain=RuntimeSession(made.model, optimize=False, threads=threads),
        operators={layer: executed[node] for layer, node in nodes.items() if node in executed},
        threads=threads,
        _values=RuntimeSession(
            made.model, optimize=False, threads=threads, values=list(made.values.values())
        ),
        _sites=tuple(made.values),
    )
