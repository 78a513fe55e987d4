"""The network: one module for each node of the file, called in the file's order."""

import keyword
import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from model_io.errors import ModelError
from model_io.onnx_import.operators import TABLE
from model_io.onnx_import.program.call import Call, Refusal
from model_io.onnx_import.program.estimate_memory import held_tensor
from model_io.onnx_import.program.steps import OWN, OnnxProgram, OnnxStep
from model_io.onnx_import.program.values import (
    MOST_KNOWN,
    Known,
    Value,
    constant_to_value,
    is_known_value,
    tensor_from_value,
)
from quant.graph.tracing.static_network import StaticNetwork
from quant.interruption import check_interruption

_NEWEST = 25
_MOST_AXES = 2
_LARGEST = 2**63 + 1
Results = tuple[Value | None, ...]
Watch = Callable[[OnnxStep, Results], None]


def compute_step(step: OnnxStep, values: Sequence[Value | None], opset: int) -> Results:
    """Return the results of a step.

    Raises:
        ModelError: the operator refuses the inputs; the sentence names the node.
    """
    entry = TABLE[step.operator]
    # QuantScope's operators follow the newest standard, independent of the file's opset
    call = Call(step, values, _NEWEST if step.domain == OWN else opset)
    run = entry.known if entry.known is not None and _are_few_numbers(values) else entry.run
    try:
        result = run(call)
    except Refusal as refusal:
        raise ModelError(f"{step_title(step)} cannot come in: {refusal}") from None
    except ModelError:
        raise
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"{step_title(step)} must fit its inputs of shape {_shapes_text(values)}, got an error "
            f"({type(error).__name__}: {line}). Check the input's shape, or export again."
        ) from error
    results = result if isinstance(result, tuple) else (result,)
    if any(isinstance(r, np.ndarray) and not _fits_int64(r) for r in results):
        raise ModelError(f"{step_title(step)} must give numbers of 64 bits, got larger ones.")
    return results


def _are_few_numbers(values: Sequence[Value | None]) -> bool:
    """Whether the inputs are plain numbers, and few enough to broadcast in memory."""
    given = [v for v in values if v is not None]
    if not all(is_known_value(v) and v.ndim <= _MOST_AXES for v in given):
        return False
    return sum(math.prod(v.shape) for v in given) <= MOST_KNOWN


def _fits_int64(numbers: Known) -> bool:
    """Whether int64 holds the integers; Python's integers grow without limit."""
    return all(abs(n) < _LARGEST for n in numbers.ravel().tolist() if type(n) is int)


def step_title(step: OnnxStep) -> str:
    """Return how a sentence names a step."""
    return f"The node {step.name[:120]!r} ({step.operator[:60]})"


def _shapes_text(values: Sequence[Value | None]) -> str:
    return ", ".join("none" if v is None else str(tuple(v.shape)) for v in values)


class Operation(nn.Module):
    """One node. Weights are parameters, other constants are numbers, parameters or buffers."""

    def __init__(
        self, step: OnnxStep, opset: int, constants: dict[str, Tensor | nn.Parameter]
    ) -> None:
        super().__init__()
        self.step = step
        self.opset = opset
        self.reads = tuple(name for name in step.inputs if name and name not in constants)
        self._sources: list[str | Known | int | None] = []
        for index, name in enumerate(step.inputs):
            if name in constants:
                self._sources.append(self._register_constant(index, constants[name]))
            else:
                self._sources.append(self.reads.index(name) if name else None)

    def _register_constant(self, index: int, value: Tensor) -> str | Known:
        """Register a constant of any shape and return the attribute, or return plain numbers."""
        entry = TABLE[self.step.operator]
        role = entry.weights.get(index)
        if role is None:
            handed = constant_to_value(value, setting=index in entry.settings)
            if not isinstance(handed, Tensor):
                return handed
            role = "value" if index == 0 or not hasattr(self, "value") else f"value_{index}"
        if isinstance(value, nn.Parameter) and not role.startswith("running"):
            self.register_parameter(role, value)
        else:
            self.register_buffer(role, value.detach())
        return role

    def forward(self, *values: Value) -> Results:
        """Return the node's outputs for the inputs that are not constant, of any shape."""
        return compute_step(
            self.step, [self._input_value(s, values) for s in self._sources], self.opset
        )

    def _input_value(
        self, source: str | Known | int | None, values: tuple[Value, ...]
    ) -> Value | None:
        """Return an input: a registered constant, plain numbers, or a member of `values`."""
        if isinstance(source, str):
            held: Tensor = getattr(self, source)
            return held_tensor(held)
        return values[source] if isinstance(source, int) else source


class OnnxNetwork(StaticNetwork):
    """A network of modules with the names of the file's nodes, which a capture can record."""

    def __init__(self, program: OnnxProgram) -> None:
        super().__init__()
        self.inputs, self._outputs = program.input_names, program.output_names
        shared = {
            name: nn.Parameter(value) if value.is_floating_point() else value
            for name, value in program.constants.items()
        }
        self._operations = [Operation(step, program.opset, shared) for step in program.steps]
        last = {name: i for i, op in enumerate(self._operations) for name in op.reads}
        self._ends: list[list[str]] = [[] for _ in self._operations]
        for name, index in last.items():
            self._ends[index].append(name)
        for name in set(self._outputs) & set(shared):
            self.register_buffer(
                f"stored_output_{self._outputs.index(name)}", shared[name].detach()
            )
        # children follow parents, so that a node "a.b" finds the node "a" in place
        for operation in sorted(self._operations, key=lambda o: o.step.name.count(".")):
            self._place_operation(operation)
        paths = {id(module): path for path, module in self.named_modules()}
        self.paths = {o.step.name: paths[id(o)] for o in self._operations}

    def _place_operation(self, operation: Operation) -> None:
        """Add an operation to the tree of modules, at the path in the name."""
        *above, name = operation.step.name.split(".")
        owner: nn.Module = self
        for part in above:
            free = _free_child_name(owner, part, branch=True)
            if free not in owner._modules:  # noqa: SLF001  no public way to ask
                owner.add_module(free, nn.Module())
            owner = owner.get_submodule(free)
        owner.add_module(_free_child_name(owner, name, branch=False), operation)

    def forward(self, x: Tensor, *more: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the output, or a tuple of outputs, for inputs of shape (N, ...)."""
        found = self.run_watched((x, *more))
        return found if len(found) > 1 else found[0]

    def run_by_operation(
        self, inputs: Sequence[Tensor], leave: Callable[[str], None]
    ) -> tuple[Tensor, ...]:
        """Return the outputs for inputs of shape (N, ...); tell `leave` each node that ran."""
        return self.run_watched(inputs, lambda step, _: leave(self.paths[step.name]))

    def run_watched(
        self, inputs: Sequence[Tensor], watch: Watch | None = None
    ) -> tuple[Tensor, ...]:
        """Return the outputs for inputs of shape (N, ...); `watch` sees every step's results."""
        values: dict[str, Value | None] = dict(zip(self.inputs, inputs, strict=True))
        for operation, ends in zip(self._operations, self._ends, strict=True):
            check_interruption()
            results = operation(*(values[name] for name in operation.reads))
            if watch is not None:
                watch(operation.step, results)
            values.update(zip(operation.step.outputs, results, strict=False))
            for name in ends:
                if name not in self._outputs:
                    values.pop(name, None)
        for place, name in enumerate(self._outputs):
            if name not in values:
                values[name] = getattr(self, f"stored_output_{place}", None)
        return tuple(self._result_as_float(name, values.get(name)) for name in self._outputs)

    @staticmethod
    def _result_as_float(name: str, value: Value | None) -> Tensor:
        if value is None:
            raise ModelError(f"The output {name[:80]!r} must be computed, and is not.")
        return tensor_from_value(value)


def _free_child_name(owner: nn.Module, part: str, *, branch: bool) -> str:
    """Return a free attribute name for a child; an existing child can be the branch."""
    # torch.fx writes identifiers unchanged into source; a keyword would break the source
    name = f"{part}_" if not part or keyword.iskeyword(part) else part
    while hasattr(owner, name) and not (branch and name in owner._modules):  # noqa: SLF001
        name += "_"
    return name
