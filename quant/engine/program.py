"""A network as a flat list of steps that can run from any of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.engine import fused_convolution
from quant.engine.fused_convolution import FusedConvolution, can_fuse, read_convolution
from quant.engine.mutation import unsafe_spans
from quant.engine.portable import (
    PLACEHOLDER,
    Portable,
    PortableOperation,
    Value,
    fill,
    function_of,
    make_portable,
)
from quant.graph.float_graph import FloatGraph
from quant.graph.operators import weight_argument_position
from quant.inputs import Inputs, parts_of
from quant.simulation.plan import Site
from quant.torch_state import not_while_tracing

Values = dict[str, Any]
Settings = Mapping[str, Encoding | Tensor]
FLOAT: Settings = {}
PACKED_FOR = 8  # images in a batch; a weight packed for one size serves all


@dataclass(frozen=True, slots=True)
class EngineStep:
    """One operation or, where `site` is set, the grid at its result.

    `drops` names the values that nothing needs after it.
    """

    operation: PortableOperation
    site: str | None = None
    function: Callable[..., Any] | None = None
    convolution: FusedConvolution | None = None
    drops: tuple[str, ...] = ()


class Program:
    """A network that runs from any position, with any grids at its sites.

    Position p lies before step p. `run` takes the values that live there and leaves those that
    live where it stops, so a shallow copy of them is a checkpoint: steps never change a value that
    one holds, as long as positions come from `position`.
    """

    def __init__(self, portable: Portable, *, fuse: bool = True) -> None:
        self.portable = portable
        self.inputs, self.outputs = portable.inputs, portable.outputs
        self._constants = portable.constants
        fuse = fuse and fused_convolution.available()
        steps = list(_steps(portable, fuse=fuse))
        self._steps = tuple(_with_drops(steps, self.outputs))
        self._positions = _positions(self._steps)
        self._unsafe = unsafe_spans(
            (place, step.operation) for place, step in enumerate(self._steps) if step.site is None
        )
        self._live = tuple(_live(self._steps, self.inputs))
        self._sizes = {item.name: item.size for item in portable.operations}
        self._packed = self._pack_all()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain data; packed weights are made anew where it arrives."""
        return Program, (self.portable,)

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self._steps)

    @torch.inference_mode()
    def __call__(self, inputs: Inputs, settings: Settings = FLOAT) -> Tensor:
        """Run the network on inputs (N, *input_shape) with the given grids."""
        return self.finish(self.start(inputs), 0, settings)

    def start(self, inputs: Inputs) -> Values:
        """Return the values at position 0."""
        return dict(zip(self.inputs, parts_of(inputs), strict=True))

    def finish(self, values: Values, start: int, settings: Settings) -> Tensor:
        """Run from a position to the end and return the network's (first) output."""
        self.run(values, start, len(self), settings)
        return self.results(values)[0]

    def results(self, values: Values) -> tuple[Tensor, ...]:
        """Return the network's outputs from the values at the end."""
        return tuple(values[name] for name in self.outputs)

    @not_while_tracing
    def run(self, values: Values, start: int, stop: int, settings: Settings) -> None:
        """Turn the values at `start` into those at `stop`; weights come from `settle`."""
        for step in self._steps[start:stop]:
            self._run(step, values, settings)
            for name in step.drops:
                values.pop(name, None)

    def _run(self, step: EngineStep, values: Values, settings: Settings) -> None:
        name = step.operation.name
        if step.site is not None:
            grid = settings.get(step.site)
            if isinstance(grid, Encoding):
                values[name] = grid.fake_quantize(values[name])
            return
        weight = settings.get(step.operation.weight_grid or "")
        if step.convolution is not None:
            bias = step.convolution.bias
            packed = weight if isinstance(weight, Tensor) else self._packed[name]
            values[name] = step.convolution(
                values[step.convolution.source],
                packed,
                None if bias is None else self._constants[bias],
            )
            return
        arguments = fill(step.operation.args, values, self._constants)
        if isinstance(weight, Tensor):
            place = _weight_place(step.operation)
            arguments = (*arguments[:place], weight, *arguments[place + 1 :])
        keywords = {
            key: fill(value, values, self._constants) for key, value in step.operation.kwargs
        }
        if step.function is not None:
            values[name] = step.function(*arguments, **keywords)

    @not_while_tracing
    def settle(self, grids: Mapping[str, Encoding]) -> dict[str, Encoding | Tensor]:
        """Return settings with weights already on their grids and in the kernel's order."""
        found: dict[str, Encoding | Tensor] = dict(grids)
        for step in self._steps:
            site = step.operation.weight_grid
            if step.site is None and site is not None and site in grids:
                found[site] = self._settle(step, grids[site])
        return found

    def _settle(self, step: EngineStep, grid: Encoding) -> Tensor:
        if step.convolution is not None:
            weight = grid.fake_quantize(self._constants[step.convolution.weight])
            return step.convolution.pack(weight, self.portable.batch or PACKED_FOR)
        place = _weight_place(step.operation)
        stored: Tensor = fill(step.operation.args[place], {}, self._constants)
        return grid.fake_quantize(stored)

    def _pack_all(self) -> dict[str, Tensor]:
        return {
            step.operation.name: step.convolution.pack(
                self._constants[step.convolution.weight], self.portable.batch or PACKED_FOR
            )
            for step in self._steps
            if step.convolution is not None
        }

    def position(self, sites: Iterable[str]) -> int:
        """Return the last position before which nothing depends on the grids at these sites."""
        found = min(self._positions[site] for site in sites)
        while True:
            earlier = [first for first, last in self._unsafe if first < found <= last]
            if not earlier:
                return found
            found = min(earlier)

    def live(self, position: int) -> frozenset[str]:
        """Return the names of the values that a checkpoint at that position holds."""
        return self._live[position]

    def live_bytes(self, positions: Iterable[int]) -> int:
        """Return the memory of checkpoints at these positions for one image.

        A value that several hold counts once; a view counts as a copy.
        """
        names = frozenset[str]().union(*(self._live[position] for position in positions))
        return sum(self._sizes[name] for name in names)

    def macs(self, start: int, stop: int) -> int:
        """Return the multiply-accumulates between two positions for one image."""
        return sum(step.operation.macs for step in self._steps[start:stop] if step.site is None)


def compile_program(graph: FloatGraph, sites: tuple[Site, ...], *, fuse: bool = True) -> Program:
    """Return a graph as a program with a place for a grid at each site (`simulation.plan`).

    `fuse` runs convolutions and the clips after them as one step where torch can; results then
    differ from the graph's by the rounding of float32.

    Raises:
        CaptureError: the graph calls something that is no operator.
    """
    return Program(make_portable(graph, sites), fuse=fuse)


def _steps(portable: Portable, *, fuse: bool) -> Iterable[EngineStep]:
    """Yield steps in order; a clip that its convolution takes in gives its name to the step."""
    users = _users(portable)
    shapes = {item.name: item.shape for item in portable.operations}
    taken: set[str] = set()
    for operation in portable.operations:
        if operation.name in taken:
            continue
        result = operation
        if operation.target == PLACEHOLDER:
            if _writes_input(portable):  # the caller's tensor shall not change
                args = (Value(operation.name),)
                yield EngineStep(
                    replace(operation, args=args), function=torch.ops.aten.clone.default
                )
        else:
            found = read_convolution(operation, portable.constants, shapes) if fuse else None
            if found is None:
                yield EngineStep(operation, function=function_of(operation.target))
            else:
                clip = _clip_after(operation, users)
                if clip is not None:
                    taken.add(clip.name)
                    found = replace(found, clip=clip.clip)
                    result = replace(operation, name=clip.name, grid=clip.grid)
                yield EngineStep(result, convolution=found)
        if result.grid is not None:
            yield EngineStep(result, site=result.grid)


def _weight_place(operation: PortableOperation) -> int:
    return weight_argument_position(operation.target)


def _writes_input(portable: Portable) -> bool:
    own = [item for item in portable.operations if item.target != PLACEHOLDER]
    return any(first < 0 for first, _ in unsafe_spans(enumerate(own)))


def _users(portable: Portable) -> dict[str, list[PortableOperation]]:
    users: dict[str, list[PortableOperation]] = {item.name: [] for item in portable.operations}
    for operation in portable.operations:
        for source in operation.sources:
            users[source].append(operation)
    return users


def _clip_after(
    operation: PortableOperation, users: Mapping[str, list[PortableOperation]]
) -> PortableOperation | None:
    """Return the clip that alone takes the operation's result, where nothing lies between."""
    if operation.grid is not None or len(users[operation.name]) != 1:
        return None
    user = users[operation.name][0]
    return user if can_fuse(user.clip) and user.sources == (operation.name,) else None


def _with_drops(steps: list[EngineStep], outputs: tuple[str, ...]) -> Iterable[EngineStep]:
    last: dict[str, int] = {}
    for place, step in enumerate(steps):
        for name in (*step.operation.sources, step.operation.name):
            last[name] = place
    ends: dict[int, list[str]] = {}
    for name, place in last.items():
        if name not in outputs:
            ends.setdefault(place, []).append(name)
    return [replace(step, drops=tuple(ends.get(place, ()))) for place, step in enumerate(steps)]


def _live(steps: tuple[EngineStep, ...], first: tuple[str, ...]) -> Iterable[frozenset[str]]:
    """Yield the names of the values that live at each position."""
    alive = set(first)
    yield frozenset(alive)
    for step in steps:
        alive = (alive | {step.operation.name}) - set(step.drops)
        yield frozenset(alive)


def _positions(steps: tuple[EngineStep, ...]) -> dict[str, int]:
    """Return for each site the position before the first step that it acts on."""
    found: dict[str, int] = {}
    for place, step in enumerate(steps):
        site = step.site if step.site is not None else step.operation.weight_grid
        if site is not None:
            found.setdefault(site, place)
    return found
