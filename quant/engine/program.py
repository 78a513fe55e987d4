"""A network as a flat list of steps, ready to run from any step."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.engine import fused_convolution
from quant.engine.depthwise import (
    Convolution,
    DepthwiseConvolution,
    encode_values,
    is_plain,
    read_convolutions,
)
from quant.engine.fused_convolution import can_fuse_clip
from quant.engine.mutation import unsafe_restart_spans
from quant.engine.portable import (
    PLACEHOLDER,
    Portable,
    PortableOperation,
    Value,
    fill_arguments,
    function_of_target,
    make_portable_graph,
)
from quant.graph.float_graph import FloatGraph
from quant.graph.operators import weight_argument_position
from quant.inputs import Inputs, tensors_of_batch
from quant.simulation.plan import Site
from quant.torch_state import wait_while_tracing

Values = dict[str, Any]
Settings = Mapping[str, Encoding | Tensor]
FLOAT: Settings = {}
PACKED_FOR = 8  # images in a batch; a weight packed for one size serves all


@dataclass(frozen=True, slots=True)
class EngineStep:
    """One operation or, where `site` is set, the encoding at the result.

    `drops` names the values without later use.
    """

    operation: PortableOperation
    site: str | None = None
    function: Callable[..., Any] | None = None
    convolution: Convolution | None = None
    drops: tuple[str, ...] = ()


class Program:
    """A network that runs from any position, with any encodings at the sites.

    Position p lies before step p. `run_steps` takes the live values of a position and leaves the
    live values of the position at the stop, so a shallow copy of the values is a checkpoint: steps
    never change a value of a checkpoint, as long as positions come from `restart_position`.
    """

    def __init__(self, portable: Portable, *, fuse: bool = True) -> None:
        self.portable = portable
        self.inputs, self.outputs = portable.input_names, portable.output_names
        self._constants = portable.constants
        fuse = fuse and fused_convolution.are_kernels_available()
        steps = list(_engine_steps(portable, fuse=fuse))
        self._steps = tuple(_steps_with_drops(steps, self.outputs))
        self._positions = _restart_positions(self._steps)
        self._unsafe = unsafe_restart_spans(
            (place, step.operation) for place, step in enumerate(self._steps) if step.site is None
        )
        self._live = tuple(_live_names(self._steps, self.inputs))
        self._sizes = {item.name: item.size for item in portable.operations}
        self._packed = self._pack_float_weights()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as plain data; the receiver packs weights anew."""
        return Program, (self.portable,)

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self._steps)

    @torch.inference_mode()
    def __call__(self, inputs: Inputs, settings: Settings = FLOAT) -> Tensor:
        """Run the network on inputs (N, *input_shape) with encodings; return the first output."""
        return self.finish_run(self.start_values(inputs), 0, settings)

    def start_values(self, inputs: Inputs) -> Values:
        """Return the values at position 0."""
        return dict(zip(self.inputs, tensors_of_batch(inputs), strict=True))

    def finish_run(self, values: Values, start: int, settings: Settings) -> Tensor:
        """Run from a position to the end; return the network's (first) output, shape (N, ...)."""
        self.run_steps(values, start, len(self), settings)
        return self.result_tensors(values)[0]

    def result_tensors(self, values: Values) -> tuple[Tensor, ...]:
        """Return the network's outputs, shapes (N, ...), from the values at the end."""
        return tuple(values[name] for name in self.outputs)

    @wait_while_tracing
    def run_steps(self, values: Values, start: int, stop: int, settings: Settings) -> None:
        """Turn the values at `start` into values at `stop`; weights come from `settle_weights`."""
        steps, encoded, stop = self._steps, -1, min(stop, len(self))
        for place in range(start, stop):
            step = steps[place]
            if step.convolution is not None:
                after = steps[place + 1].site if place + 1 < stop else None
                encoding = settings.get(after or "")
                encoding = encoding if isinstance(encoding, Encoding) else None
                self._run_convolution(step, values, settings, encoding)
                encoded = place + 1 if encoding is not None else -1
            elif place != encoded:
                self._run_step(step, values, settings)
            for name in step.drops:
                values.pop(name, None)

    def _run_convolution(
        self, step: EngineStep, values: Values, settings: Settings, encoding: Encoding | None
    ) -> None:
        """Run a convolution, and the encoding of the step behind where given."""
        name, convolution = step.operation.name, step.convolution
        if convolution is None:
            return
        weight = settings.get(step.operation.weight_site or "")
        packed = weight if isinstance(weight, Tensor) else self._packed[name]
        bias = None if convolution.bias is None else self._constants[convolution.bias]
        x = values[convolution.source]
        if isinstance(convolution, DepthwiseConvolution):
            fused = encoding if encoding is not None and is_plain(encoding) else None
            found = convolution(x, packed, bias, fused)
            encoding = None if fused is not None else encoding
        else:
            found = convolution(x, packed, bias)
        if encoding is not None:  # nobody else has the new value yet
            found = encode_values(encoding, found, in_place=True)
        values[name] = found

    def _run_step(self, step: EngineStep, values: Values, settings: Settings) -> None:
        name = step.operation.name
        if step.site is not None:
            encoding = settings.get(step.site)
            if isinstance(encoding, Encoding):
                values[name] = encode_values(encoding, values[name])
            return
        arguments = fill_arguments(step.operation.args, values, self._constants)
        for place, site in _weight_places(step.operation):
            weight = settings.get(site)
            if isinstance(weight, Tensor):
                arguments = (*arguments[:place], weight, *arguments[place + 1 :])
        keywords = {
            key: fill_arguments(value, values, self._constants)
            for key, value in step.operation.kwargs
        }
        if step.function is not None:
            values[name] = step.function(*arguments, **keywords)

    @wait_while_tracing
    def settle_weights(self, encodings: Mapping[str, Encoding]) -> dict[str, Encoding | Tensor]:
        """Return settings with quantized weights in the kernel's order, shape (O, I, ...)."""
        found: dict[str, Encoding | Tensor] = dict(encodings)
        for step in self._steps:
            site = step.operation.weight_site
            if step.site is None and site is not None and site in encodings:
                found[site] = self._settle_weight(step, encodings[site])
        return found

    def _settle_weight(self, step: EngineStep, encoding: Encoding) -> Tensor:
        if step.convolution is not None:
            weight = encoding.fake_quantize(self._constants[step.convolution.weight])
            return step.convolution.pack_weight(weight, self.portable.batch or PACKED_FOR)
        place = _weight_position(step.operation)
        stored: Tensor = fill_arguments(step.operation.args[place], {}, self._constants)
        return encoding.fake_quantize(stored)

    def _pack_float_weights(self) -> dict[str, Tensor]:
        return {
            step.operation.name: step.convolution.pack_weight(
                self._constants[step.convolution.weight], self.portable.batch or PACKED_FOR
            )
            for step in self._steps
            if step.convolution is not None
        }

    def restart_position(self, sites: Iterable[str]) -> int:
        """Return the last position before the steps that depend on the encodings at the sites."""
        found = min(self._positions[site] for site in sites)
        while True:
            earlier = [first for first, last in self._unsafe if first < found <= last]
            if not earlier:
                return found
            found = min(earlier)

    def live_values(self, position: int) -> frozenset[str]:
        """Return the names of the values in a checkpoint at the position."""
        return self._live[position]

    def checkpoint_bytes(self, positions: Iterable[int]) -> int:
        """Return the memory of checkpoints at the positions for one image.

        A value in several checkpoints counts once; a view counts as a copy.
        """
        names = frozenset[str]().union(*(self._live[position] for position in positions))
        return sum(self._sizes[name] for name in names)

    def macs_between(self, start: int, stop: int) -> int:
        """Return the multiply-accumulates between two positions for one image."""
        return sum(step.operation.macs for step in self._steps[start:stop] if step.site is None)


def compile_program(graph: FloatGraph, sites: tuple[Site, ...], *, fuse: bool = True) -> Program:
    """Return a graph as a program with a place for an encoding at each site (`plan_sites`).

    `fuse` runs a convolution and the clip behind as one step where torch can; results then differ
    from the graph's by the rounding of float32.

    Raises:
        CaptureError: the graph calls a function other than an operator.
    """
    return Program(make_portable_graph(graph, sites), fuse=fuse)


def _engine_steps(portable: Portable, *, fuse: bool) -> Iterable[EngineStep]:
    """Yield steps in order; a clip inside a convolution gives the step the clip's name."""
    users = _users_by_name(portable)
    convolutions, taken = read_convolutions(portable, users) if fuse else ({}, set())
    for operation in portable.operations:
        if operation.name in taken:
            continue
        result = operation
        if operation.target == PLACEHOLDER:
            if _writes_into_input(portable):  # the caller's tensor shall not change
                args = (Value(operation.name),)
                yield EngineStep(
                    replace(operation, args=args), function=torch.ops.aten.clone.default
                )
        elif operation.name in convolutions:
            found = convolutions[operation.name]
            result = replace(operation, args=(Value(found.source), *operation.args[1:]))
            clip = _clip_after_operation(operation, users)
            if clip is not None:
                taken.add(clip.name)
                found = replace(found, clip=clip.clip)
                result = replace(result, name=clip.name, site=clip.site)
            yield EngineStep(result, convolution=found)
        else:
            yield EngineStep(operation, function=function_of_target(operation.target))
        if result.site is not None:
            yield EngineStep(result, site=result.site)


def _weight_position(operation: PortableOperation) -> int:
    return weight_argument_position(operation.target)


def _weight_places(operation: PortableOperation) -> Iterable[tuple[int, str]]:
    """Yield (position, site) of the weights among an operation's arguments."""
    yield from operation.borrowed
    if operation.weight_site is not None:
        yield _weight_position(operation), operation.weight_site


def _writes_into_input(portable: Portable) -> bool:
    own = [item for item in portable.operations if item.target != PLACEHOLDER]
    return any(first < 0 for first, _ in unsafe_restart_spans(enumerate(own)))


def _users_by_name(portable: Portable) -> dict[str, list[PortableOperation]]:
    users: dict[str, list[PortableOperation]] = {item.name: [] for item in portable.operations}
    for operation in portable.operations:
        for source in operation.source_names:
            users[source].append(operation)
    return users


def _clip_after_operation(
    operation: PortableOperation, users: Mapping[str, list[PortableOperation]]
) -> PortableOperation | None:
    """Return the clip that alone takes the operation's result directly."""
    if operation.site is not None or len(users[operation.name]) != 1:
        return None
    user = users[operation.name][0]
    return user if can_fuse_clip(user.clip) and user.source_names == (operation.name,) else None


def _steps_with_drops(steps: list[EngineStep], outputs: tuple[str, ...]) -> Iterable[EngineStep]:
    last: dict[str, int] = {}
    for place, step in enumerate(steps):
        for name in (*step.operation.source_names, step.operation.name):
            last[name] = place
    ends: dict[int, list[str]] = {}
    for name, place in last.items():
        if name not in outputs:
            ends.setdefault(place, []).append(name)
    return [replace(step, drops=tuple(ends.get(place, ()))) for place, step in enumerate(steps)]


def _live_names(steps: tuple[EngineStep, ...], first: tuple[str, ...]) -> Iterable[frozenset[str]]:
    """Yield the names of the live values of each position."""
    alive = set(first)
    yield frozenset(alive)
    for step in steps:
        alive = (alive | {step.operation.name}) - set(step.drops)
        yield frozenset(alive)


def _restart_positions(steps: tuple[EngineStep, ...]) -> dict[str, int]:
    """Return the position before the first step of each site."""
    found: dict[str, int] = {}
    for place, step in enumerate(steps):
        own = (step.site,) if step.site is not None else (step.operation.weight_site,)
        borrowed = (site for _, site in step.operation.borrowed)
        for site in (*own, *borrowed):
            if site is not None:
                found.setdefault(site, place)
    return found
