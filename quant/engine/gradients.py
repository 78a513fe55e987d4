"""A forward and a backward of several probes: outputs and gradients of every layer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from quant.engine.fused_layer import PACKED_FOR, FusedLayer, fuse_layer_kernel
from quant.engine.portable import (
    PLACEHOLDER,
    Constant,
    PortableOperation,
    fill_arguments,
    function_of_target,
    make_portable_graph,
)
from quant.graph.borrowed_weights import find_borrowed_weights
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer, fused_function_chain
from quant.inputs import Inputs, Outputs, as_network_inputs, sample_count, tensors_of_batch
from quant.torch_state import wait_while_tracing

Probes = Callable[[Outputs], Sequence[Outputs]]
Run = Callable[[Tensor], Tensor]
Weigh = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True, eq=False, slots=True)
class Local:
    """One layer and one batch of `images`.

    `output` is the layer's output in the float network, usually (N, ...); the images may lie along
    another axis, or share an axis with tokens. `gradients` holds the gradient of each probed sum at
    the output. `run` gives the output for a weight from `prepare_weight` and the
    same input; None for a layer without weight. `weigh` takes shifts (S, ...) of the weight and
    gives for each gradient the effect (S, N) on the probed sum of an image, to first order; None
    where `weigh` gains nothing over `run`.
    """

    layer: Layer
    images: int
    output: Tensor
    gradients: tuple[Tensor, ...]
    run: Run | None = None
    weigh: Weigh | None = None


class Backward:
    """A graph ready for forwards and backwards.

    Convolutions with clips run as a kernel where torch has the kernel, and gradients pass through
    as convolutions again; the rest is left to autograd, operation by operation.
    """

    def __init__(self, graph: FloatGraph) -> None:
        self.portable = make_portable_graph(graph, ())
        self.layers = {layer.output: layer for layer in graph.layers}
        self.chains = {
            layer.output: [node.name for node in fused_function_chain(graph.node_named(layer.node))]
            for layer in graph.layers
        }
        self._operations = {item.name: item for item in self.portable.operations}
        self._borrowers = {one.lender: one.borrower for one in find_borrowed_weights(graph.module)}
        # what makes real numbers of whole ones, such as an embedding: gradients end there
        self.begins = {layer.node for layer in graph.layers if not layer.inputs}
        self.stages = {
            layer.output: stage
            for layer in graph.layers
            if (stage := fuse_layer_kernel(layer, self.operations_of_layer(layer), self.portable))
            is not None
        }

    def operations_of_layer(self, layer: Layer) -> list[PortableOperation]:
        """Return a layer's operation and the fused functions."""
        return [self._operations[name] for name in (layer.node, *self.chains[layer.output])]

    def operations_with_weight(self, layer: Layer) -> list[PortableOperation]:
        """Return what runs anew for another weight: from what borrows the weight, in order."""
        own = self.operations_of_layer(layer)
        borrower = self._borrowers.get(layer.node)
        if borrower is None:
            return own
        names = list(self._operations)
        earlier = names[names.index(borrower) : names.index(layer.node)]
        return [*(self._operations[name] for name in earlier), *own]

    def prepare_weight(self, layer: Layer, weight: Tensor) -> Tensor:
        """Return a weight of shape (O, I, ...) in the form for `Local.run` of the layer."""
        stage = self.stages.get(layer.output)
        return weight if stage is None else stage.convolution.pack_weight(weight, PACKED_FOR)

    @wait_while_tracing
    def __call__(self, inputs: Inputs, probes: Probes, visit: Callable[[Local], None]) -> Outputs:
        """Run the network on inputs (N, ...), visit the layers from the last, return the outputs.

        `probes` maps the output to tensors of equal shape (several outputs to as many tensors); the
        probed sums are the products of the tensors with the output. A layer is not visited if
        gradients do not reach the input through the layer.
        """
        turn = _Turn(self, visit)
        outputs = turn.run_forward(inputs)
        turn.carry_back(probes(outputs))
        return outputs


@dataclass(frozen=True, eq=False, slots=True)
class _Tape:
    """An operation under autograd: the result with the tensors that entered.

    `leaves` name the source of an entered tensor: the operation's name, and the place in the
    operation's result if the result has several tensors.
    """

    result: Any
    leaves: tuple[tuple[str, int, Tensor], ...]


Slots = dict[int, Tensor]


class _Turn:
    """A batch on the way through the network and back."""

    def __init__(self, backward: Backward, visit: Callable[[Local], None]) -> None:
        self._backward, self._visit = backward, visit
        self._images = 0
        self._inside = {
            operation.name
            for output in backward.stages
            for operation in backward.operations_of_layer(backward.layers[output])
        }
        self._values: dict[str, Any] = {}
        self._owners: dict[str, str] = {}  # whose result a name stands for by now
        self._results: dict[str, Tensor] = {}  # of the layers
        self._sources: dict[str, tuple[str, Tensor]] = {}  # of the stages
        self._tapes: dict[str, _Tape] = {}
        self._tied: set[str] = set()  # what depends on the input
        # for each operation, probe after probe, the gradients at what it gave
        self._arrived: dict[str, list[Slots]] = {}

    def run_forward(self, inputs: Inputs) -> Outputs:
        """Run the network on inputs (N, ...) and keep the values for the way back."""
        portable = self._backward.portable
        self._images = sample_count(inputs)
        given = dict(zip(portable.input_names, tensors_of_batch(inputs), strict=True))
        for operation in portable.operations:
            name = operation.name
            if operation.target == PLACEHOLDER:
                value: Any = given[name].detach()
                self._begin_gradients(name, value)
            elif name in self._backward.stages:
                value = self._run_fused_stage(name)
            elif name in self._inside:  # its stage gives the result of the whole
                continue
            else:
                value = self._record_operation(operation)
                if name in self._backward.begins:
                    self._begin_gradients(name, value)
            self._values[name], self._owners[name] = value, name
            if name in self._backward.layers:
                self._results[name] = value
            # who asks later for what it took, sees what it gave
            if _writes_in_place(operation.target) and operation.source_names:
                source = operation.source_names[0]
                self._values[source], self._owners[source] = value, name
        return as_network_inputs([self._values[name] for name in portable.output_names])

    def _begin_gradients(self, name: str, value: object) -> None:
        """Let gradients go back only as far as here; whole numbers have no gradients."""
        if isinstance(value, Tensor) and value.is_floating_point():
            self._tied.add(name)

    def _run_fused_stage(self, name: str) -> Tensor:
        stage = self._backward.stages[name]
        source = stage.convolution.source
        x = self._values[source].contiguous(memory_format=torch.channels_last)
        owner = self._owners[source]
        if owner in self._tied:
            self._tied.add(name)
            self._sources[name] = owner, x
        return stage.run_layer(x, stage.packed)

    def _record_operation(self, operation: PortableOperation) -> object:
        """Run an operation so that gradients can go back through the operation alone."""
        given = dict(self._values)
        leaves: list[tuple[str, int, Tensor]] = []
        for source in operation.source_names:
            owner = self._owners[source]
            if owner in self._tied:
                fresh = _gradient_leaves(given[source])
                given[source] = fresh
                parts = fresh if isinstance(fresh, tuple | list) else (fresh,)
                leaves += [
                    (owner, place, part)
                    for place, part in enumerate(parts)
                    if isinstance(part, Tensor) and part.requires_grad
                ]
        with torch.enable_grad():
            result = _call_operation(
                operation, operation.args, given, self._backward.portable.constants
            )
        if leaves and any(part.requires_grad for part in _tensors_of_result(result)):
            self._tied.add(operation.name)
            self._tapes[operation.name] = _Tape(result, tuple(leaves))
        return _detached_value(result)

    def carry_back(self, probes: Sequence[Outputs]) -> None:
        """Carry probes back to the input and visit the layers on the way."""
        portable = self._backward.portable
        for place, probe in enumerate(probes):
            for output, part in zip(portable.output_names, tensors_of_batch(probe), strict=True):
                end = self._owners[output]
                if end in self._tied:
                    self._add_gradient(end, place, len(probes), 0, part)
        for operation in reversed(portable.operations):
            name = operation.name
            slots = self._arrived.pop(name, None)
            if slots is not None:
                stage = self._backward.stages.get(name)
                if stage is not None:
                    self._carry_stage_back(stage, tuple(one[0] for one in slots))
                else:
                    self._carry_operation_back(operation, slots)
            self._results.pop(name, None)
            self._tapes.pop(name, None)
            self._sources.pop(name, None)

    def _carry_stage_back(self, stage: FusedLayer, gradients: tuple[Tensor, ...]) -> None:
        name = stage.layer.output
        owner, x = self._sources[name]
        y = self._results[name]
        gradients = tuple(
            one.to(y.dtype).contiguous(memory_format=torch.channels_last) for one in gradients
        )
        inner = [stage.gradient_before_clip(one, y) for one in gradients]

        def run_with_weight(packed: Tensor) -> Tensor:
            return stage.run_layer(x, packed)

        def weigh_shifts(shifts: Tensor) -> list[Tensor]:
            return [stage.products_with_shifts(one, x, shifts) for one in inner]

        weighs = weigh_shifts if stage.shares_weight_widely else None
        self._visit(Local(stage.layer, self._images, y, gradients, run_with_weight, weighs))
        for probe, gradient in enumerate(inner):
            self._add_gradient(
                owner, probe, len(gradients), 0, stage.gradient_at_input(gradient, x)
            )

    def _carry_operation_back(self, operation: PortableOperation, slots: list[Slots]) -> None:
        layer = self._backward.layers.get(operation.name)
        if layer is not None:
            run = None if layer.weight is None else self._rerun_of_layer(layer)
            gradients = tuple(one[0].to(self._results[operation.name].dtype) for one in slots)
            self._visit(Local(layer, self._images, self._results[layer.output], gradients, run))
        tape = self._tapes.get(operation.name)
        if tape is None:
            return
        parts = list(_tensors_of_result(tape.result))
        for probe, one in enumerate(slots):
            found = torch.autograd.grad(
                [parts[place] for place in one],
                [leaf for _, _, leaf in tape.leaves],
                [value.to(parts[place].dtype) for place, value in one.items()],
                retain_graph=probe + 1 < len(slots),
                allow_unused=True,
            )
            for (owner, place, _), gradient in zip(tape.leaves, found, strict=True):
                if gradient is not None:
                    self._add_gradient(owner, probe, len(slots), place, gradient)

    def _add_gradient(
        self, owner: str, probe: int, probes: int, place: int, gradient: Tensor
    ) -> None:
        """Add a gradient to the sum at an operation's result, of equal shape."""
        slots = self._arrived.setdefault(owner, [{} for _ in range(probes)])[probe]
        slots[place] = slots[place] + gradient if place in slots else gradient

    def _rerun_of_layer(self, layer: Layer) -> Run:
        """Return the layer, with the fused functions, as a function of the weight."""
        stored = Constant(str(layer.weight))

        def run_with_weight(weight: Tensor) -> Tensor:
            values, constants = dict(self._values), self._backward.portable.constants
            for operation in self._backward.operations_with_weight(layer):
                given = tuple(weight if one == stored else one for one in operation.args)
                with torch.no_grad():
                    values[operation.name] = _call_operation(operation, given, values, constants)
            return cast("Tensor", values[layer.output])

        return run_with_weight


def _gradient_leaves(value: object) -> object:
    """Return a value's tensors as starts of gradients; whole numbers have no gradients."""
    if isinstance(value, tuple | list):
        return tuple(_gradient_leaves(part) for part in value)
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().requires_grad_()
    return value


def _detached_value(value: object) -> object:
    if isinstance(value, tuple | list):
        return tuple(_detached_value(part) for part in value)
    return value.detach() if isinstance(value, Tensor) else value


def _tensors_of_result(value: object) -> Iterator[Tensor]:
    """Yield the tensors of a result, of any shapes, in order."""
    if isinstance(value, tuple | list):
        yield from value
    elif isinstance(value, Tensor):
        yield value


def _call_operation(
    operation: PortableOperation,
    arguments: object,
    values: dict[str, object],
    constants: dict[str, Tensor],
) -> object:
    """Return an operation's result, of any shape, without overwriting operands.

    Gradients need the operands.
    """
    keywords = {key: fill_arguments(value, values, constants) for key, value in operation.kwargs}
    return _functional_operator(operation.target)(
        *fill_arguments(arguments, values, constants), **keywords
    )


def _functional_operator(target: str) -> Callable[..., object]:
    """Return the operator with gradients that leaves the operands unchanged."""
    if target.startswith("aten.detach"):  # for the float network the identity
        return function_of_target("aten.alias.default")
    if not _writes_in_place(target):
        return function_of_target(target)
    space, name, overload = target.split(".")
    return function_of_target(".".join((space, name.removesuffix("_"), overload)))


def _writes_in_place(target: str) -> bool:
    """Tell whether the operator writes over an operand."""
    if target == PLACEHOLDER:
        return False
    schema: Any = getattr(function_of_target(target), "_schema", None)
    return schema is not None and bool(schema.is_mutable)
