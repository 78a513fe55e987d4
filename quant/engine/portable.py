"""A network as plain data: operators by name and tensors, to be sent to other processes."""

import hashlib
import operator as operators
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from quant.errors import CaptureError
from quant.graph.borrowed_weights import find_borrowed_weights
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import shape_of_node
from quant.graph.operators import clip_limits
from quant.simulation.plan import Side, Site

PLACEHOLDER = "placeholder"
BYTES = 4  # of a float32


@dataclass(frozen=True, slots=True)
class Value:
    """Stands in arguments for the result of an earlier operation."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """Stands in arguments for a stored tensor."""

    name: str


@dataclass(frozen=True, slots=True)
class PortableOperation:
    """One operation; `target` is the operator's name, such as "aten.conv2d.default".

    `site` and `weight_site` name the sites of the result and of the weight; `borrowed` holds
    (position, site) of weights of other layers among the arguments. `clip` holds the limits
    of a plain clip. `macs` and `size` (bytes of the result) count for one image; `shape` has a
    batch of 1.
    """

    name: str
    target: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    site: str | None = None
    weight_site: str | None = None
    clip: tuple[float | None, float | None] | None = None
    macs: int = 0
    size: int = 0
    shape: tuple[int, ...] = ()
    borrowed: tuple[tuple[int, str], ...] = field(default=(), repr=False)  # follows from the args

    @property
    def source_names(self) -> tuple[str, ...]:
        """The names of the operations whose values enter."""
        return tuple(dict.fromkeys(_names_among((self.args, self.kwargs))))


@dataclass(frozen=True, eq=False, slots=True)
class Portable:
    """A network in plain data; `output` names the first result, `others` the further results."""

    operations: tuple[PortableOperation, ...]
    constants: dict[str, Tensor]
    output: str
    batch: int | None = None
    others: tuple[str, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return tuple(item.name for item in self.operations if item.target == PLACEHOLDER)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the results, in order."""
        return (self.output, *self.others)

    @property
    def digest(self) -> str:
        """A SHA-256 over operations and tensors: equal digests mean equal functions."""
        found = hashlib.sha256(repr((self.operations, self.output, *self.others)).encode())
        for name, tensor in sorted(self.constants.items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().contiguous().numpy().data)
        return found.hexdigest()


def make_portable_graph(graph: FloatGraph, sites: tuple[Site, ...]) -> Portable:
    """Return a graph as plain data, with a place for an encoding at each site.

    Raises:
        CaptureError: the graph calls a function without a name.
    """
    weights = {site.node: site.name for site in sites if site.side is Side.WEIGHTS}
    site_names = {site.node: site.name for site in sites if site.side is Side.ACTIVATIONS}
    macs = {layer.node: layer.macs for layer in graph.layers}
    borrowed = find_borrowed_weights(graph.module)
    operations: list[PortableOperation] = []
    constants: dict[str, Tensor] = {}
    for node in graph.module.graph.nodes:
        if node.op == "get_attr":
            constants[str(node.target)] = graph.stored_tensor(str(node.target)).detach()
        elif node.op != "output":
            operations.append(
                PortableOperation(
                    name=node.name,
                    target=portable_target(node),
                    args=tuple(map(portable_arguments, node.args))
                    if node.op != PLACEHOLDER
                    else (),
                    kwargs=tuple(
                        (key, portable_arguments(value)) for key, value in node.kwargs.items()
                    ),
                    site=site_names.get(node.name),
                    weight_site=weights.get(node.name),
                    clip=clip_limits(node) if node.op == "call_function" else None,
                    macs=macs.get(node.name, 0),
                    size=BYTES * torch.Size(shape_of_node(node)).numel()
                    if shape_of_node(node)
                    else 0,
                    shape=shape_of_node(node),
                    borrowed=tuple(
                        (one.position, weights[one.lender])
                        for one in borrowed
                        if one.borrower == node.name and one.lender in weights
                    ),
                )
            )
    first, *others = (node.name for node in graph.output_nodes)
    return Portable(tuple(operations), constants, first, graph.batch, tuple(others))


def function_of_target(target: str) -> Callable[..., object]:
    """Return the function named by an operation's target."""
    space, _, rest = target.partition(".")
    if space == "operator":
        builtin: Callable[..., Any] = getattr(operators, rest)
        return builtin
    name, _, overload = rest.rpartition(".")
    found: Callable[..., Any] = getattr(getattr(getattr(torch.ops, space), name), overload)
    return found


def fill_arguments(
    arguments: object, values: Mapping[str, object], constants: dict[str, Tensor]
) -> Any:
    """Return arguments with tensors, of any shape, in place of Value and Constant."""
    if isinstance(arguments, Value):
        return values[arguments.name]
    if isinstance(arguments, Constant):
        return constants[arguments.name]
    if isinstance(arguments, tuple | list):
        return type(arguments)(fill_arguments(item, values, constants) for item in arguments)
    if isinstance(arguments, slice):
        ends = (arguments.start, arguments.stop, arguments.step)
        return slice(*(fill_arguments(end, values, constants) for end in ends))
    return arguments


def portable_target(node: fx.Node) -> str:
    """Return the name of a node's operator.

    Raises:
        CaptureError: the node calls a function without a name.
    """
    if node.op == PLACEHOLDER:
        return PLACEHOLDER
    if isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001  no public name
        return str(node.target)
    name = getattr(node.target, "__name__", "")
    if getattr(operators, name, None) is node.target:
        return f"operator.{name}"
    raise CaptureError(
        f"A network must be made of ATen operators to be swept; {node.name} calls {node.target}. "
        "Write it with plain torch functions."
    )


def portable_arguments(arguments: object) -> object:
    """Return arguments with Value and Constant where nodes stood, and plain lists and tuples."""
    if isinstance(arguments, fx.Node):
        if arguments.op == "get_attr":
            return Constant(str(arguments.target))
        return Value(arguments.name)
    if isinstance(arguments, list):  # fx makes lists of its own kind
        return [portable_arguments(item) for item in arguments]
    if isinstance(arguments, tuple):
        return tuple(portable_arguments(item) for item in arguments)
    if isinstance(arguments, slice):
        return slice(
            portable_arguments(arguments.start),
            portable_arguments(arguments.stop),
            portable_arguments(arguments.step),
        )
    return arguments


def _names_among(arguments: object) -> Iterator[str]:
    if isinstance(arguments, Value):
        yield arguments.name
    elif isinstance(arguments, tuple | list):
        for item in arguments:
            yield from _names_among(item)
    elif isinstance(arguments, slice):
        yield from _names_among((arguments.start, arguments.stop, arguments.step))
