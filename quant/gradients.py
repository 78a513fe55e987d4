"""One forward and a backward for each probe: what leaves every layer, and what it matters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from quant.fused_layer import PACKED_FOR, FusedLayer, fuse_layer
from quant.graph import FloatGraph, Layer, fused_chain
from quant.inputs import Inputs, Outputs, as_inputs, each, parts_of
from quant.operators import weight_place
from quant.portable import PLACEHOLDER, Operation, fill, function_of, make_portable

Probes = Callable[[Outputs], Sequence[Outputs]]
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False, slots=True)
class Local:
    """One layer and one batch.

    `output` (N, ...) is what leaves the layer in the float network, each of `gradients` that of
    one probed sum with respect to it. `run` gives the output for another weight, as `prepare`
    returned it, and the same input; None where the layer has no weight.
    """

    layer: Layer
    output: Tensor
    gradients: tuple[Tensor, ...]
    run: Run | None = None


class Backward:
    """A graph ready for forwards and backwards.

    Convolutions and their clips run as one kernel where torch has it, gradients through them as
    convolutions again; everything else is left to autograd.
    """

    def __init__(self, graph: FloatGraph) -> None:
        self.portable = make_portable(graph, ())
        self.layers = {layer.output: layer for layer in graph.layers}
        self.chains = {
            layer.output: [node.name for node in fused_chain(graph.node(layer.node))]
            for layer in graph.layers
        }
        self._operations = {item.name: item for item in self.portable.operations}
        # what makes real numbers of whole ones, such as an embedding: gradients end there
        self.begins = {layer.node for layer in graph.layers if not layer.inputs}
        self.stages = {
            layer.output: stage
            for layer in graph.layers
            if (stage := fuse_layer(layer, self.operations_of(layer), self.portable)) is not None
        }

    def operations_of(self, layer: Layer) -> list[Operation]:
        """Return a layer's operation and the functions that are fused with it."""
        return [self._operations[name] for name in (layer.node, *self.chains[layer.output])]

    def prepare(self, layer: Layer, weight: Tensor) -> Tensor:
        """Return a weight as `Local.run` of that layer takes it."""
        stage = self.stages.get(layer.output)
        return weight if stage is None else stage.convolution.pack(weight, PACKED_FOR)

    def __call__(self, inputs: Inputs, probes: Probes, visit: Callable[[Local], None]) -> Outputs:
        """Run the network on inputs (N, ...), visit its layers from the last, return its output.

        `probes` maps the output to tensors of its shape (of several outputs to as many tensors);
        the sums probed are their products with the output. A layer through which no gradient
        reaches the input is not visited.
        """
        turn = _Turn(self, visit)
        try:
            return turn.run(inputs, probes)
        finally:
            turn.values.clear()  # tensors hold the hooks that hold them
            turn.outputs.clear()
            turn.starts.clear()


class _Turn:
    """One batch on its way through the network and back."""

    def __init__(self, backward: Backward, visit: Callable[[Local], None]) -> None:
        self._backward, self._visit = backward, visit
        self.values: dict[str, Any] = {}
        self.outputs: dict[str, Tensor] = {}
        self._inside = {
            operation.name
            for output in backward.stages
            for operation in backward.operations_of(backward.layers[output])
        }
        self._waiting: dict[str, list[Tensor]] = {}
        self._wanted = 0
        self.starts: list[Tensor] = []

    @torch.enable_grad()
    def run(self, inputs: Inputs, probes: Probes) -> Outputs:
        portable = self._backward.portable
        given = dict(zip(portable.inputs, parts_of(inputs), strict=True))
        for operation in portable.operations:
            self.values[operation.name] = self._result(operation, given)
        outputs = as_inputs([self.values[name] for name in portable.outputs])
        found = each(Tensor.detach, outputs)
        chosen = probes(found)
        self._wanted = len(chosen)
        for place, probe in enumerate(chosen):
            self._pull(outputs, probe, keep=place + 1 < len(chosen))
        return found

    def _pull(self, outputs: Outputs, probe: Outputs, *, keep: bool) -> None:
        """Carry one probe back to all that real numbers start from."""
        pairs = zip(parts_of(outputs), parts_of(probe), strict=True)
        tied = [(output, one) for output, one in pairs if output.requires_grad]
        if tied and self.starts:
            torch.autograd.grad(
                [output for output, _ in tied], self.starts, [one for _, one in tied],
                retain_graph=keep, allow_unused=True,
            )  # fmt: skip

    def _start(self, value: Tensor) -> Tensor:
        """Let gradients end at a value; whole numbers have none."""
        if value.is_floating_point():
            value = value.detach().requires_grad_()
            self.starts.append(value)
        return value

    def _result(self, operation: Operation, given: dict[str, Tensor]) -> Any:
        name, constants = operation.name, self._backward.portable.constants
        stage = self._backward.stages.get(name)
        if stage is not None:
            source = self.values[stage.convolution.source]
            return _Convolve.apply(source, stage, self)  # type: ignore[no-untyped-call]
        if name in self._inside:  # its stage gives the result of the whole
            return None
        if operation.target == PLACEHOLDER:
            value = self._start(given[name])
        else:
            value = _call(operation, operation.args, self.values, constants)
            if name in self._backward.begins and not value.requires_grad:
                value = self._start(value)
            if _writes(operation.target):  # who asks later for what it took, sees what it gave
                self.values[operation.sources[0]] = value
        if name in self._backward.layers and value.requires_grad:
            self.outputs[name] = value
            value.register_hook(lambda gradient: self._arrive(name, gradient))
        return value

    def _arrive(self, name: str, gradient: Tensor) -> None:
        """Take the gradient of one probe at a layer that autograd runs."""
        layer = self._backward.layers[name]
        run = None if layer.weight is None else self._rerun(layer)
        self.arrive(layer, self.outputs[name].detach(), gradient, run)

    def arrive(self, layer: Layer, output: Tensor, gradient: Tensor, run: Run | None) -> None:
        """Visit a layer once the gradients of all probes are there."""
        waiting = self._waiting.setdefault(layer.output, [])
        waiting.append(gradient.detach())
        if len(waiting) == self._wanted:
            self._visit(Local(layer, output, tuple(self._waiting.pop(layer.output)), run))

    def _rerun(self, layer: Layer) -> Run:
        """Return the layer as a function of its weight, its fused functions included."""

        def run(weight: Tensor) -> Tensor:
            operations = self._backward.operations_of(layer)
            values, constants = dict(self.values), self._backward.portable.constants
            for place, operation in enumerate(operations):
                given = operation.args
                if place == 0:
                    at = weight_place(operation.target)
                    given = (*given[:at], weight, *given[at + 1 :])
                with torch.no_grad():
                    values[operation.name] = _call(operation, given, values, constants)
            return cast("Tensor", values[layer.output])

        return run


class _Convolve(Function):
    """A stage as autograd sees it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stage: FusedLayer, turn: _Turn) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y = stage.run(x, stage.packed)
        ctx.save_for_backward(x, y)
        ctx.stage, ctx.turn = stage, turn
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, y = ctx.saved_tensors
        stage: FusedLayer = ctx.stage
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        ctx.turn.arrive(stage.layer, y, gradient, lambda packed: stage.run(x, packed))
        return stage.pull(stage.before_clip(gradient, y), x), None, None


def _call(
    operation: Operation, arguments: Any, values: dict[str, Any], constants: dict[str, Tensor]
) -> Any:
    """Return an operation's result; it writes over nothing, for gradients need what was there."""
    keywords = {key: fill(value, values, constants) for key, value in operation.kwargs}
    return _pure(operation.target)(*fill(arguments, values, constants), **keywords)


def _pure(target: str) -> Callable[..., Any]:
    """Return the operator that a gradient goes through and that changes nothing it takes."""
    if target.startswith("aten.detach"):  # for the float network the identity
        return function_of("aten.alias.default")
    if not _writes(target):
        return function_of(target)
    space, name, overload = target.split(".")
    return function_of(".".join((space, name.removesuffix("_"), overload)))


def _writes(target: str) -> bool:
    """Whether the operator writes over what it takes."""
    schema: Any = getattr(function_of(target), "_schema", None)
    return schema is not None and bool(schema.is_mutable)
