"""Find scale groups of a transformer: a norm, a value or a gate before linear layers.

Channels of the source are divided by s and the linear layers' input channels multiplied by s. The
path between may move values, take means over other axes, mix tokens (attention over values),
multiply with another tensor, and hold a ReLU: functions with s f(x) for s x, channel by channel.
GELU is different: f(s x) is not s f(x), so fc1 -> GELU -> fc2 is not a group, and the reason is
told.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx

from quant.graph import operators as ops
from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import has_computed_bias, is_shared_argument
from quant.graph.layers import Layer, shape_of_node
from quant.graph.operators import Kind, is_pass_through, operator_name

_PRODUCTS = ops.aten_operator_names("mul.Tensor mul_.Tensor")
_NORMS = ops.aten_operator_names("layer_norm.default rms_norm.default")


@dataclass(frozen=True, slots=True)
class SmoothGroup:
    """A source with divisible channels, and the linear layers that take the scales.

    Attributes:
        source: the source for people: a layer's name, or the place of a stored vector.
        holders: the stored tensors (C, ...) to divide channel by channel: weight, bias.
        targets: names of the linear layers with multiplied input channels.
        channels: number of channels.
    """

    source: str
    holders: tuple[str, ...]
    targets: tuple[str, ...]
    channels: int


@dataclass(frozen=True, slots=True)
class NotSmoothed:
    """A source that cannot be rescaled, and the reason."""

    source: str
    reason: str


def find_smooth_groups(
    graph: FloatGraph,
) -> tuple[tuple[SmoothGroup, ...], tuple[NotSmoothed, ...]]:
    """Return the groups, and the norms and linear layers without a group, with the reason."""
    layers = {layer.node: layer for layer in graph.layers}
    groups: list[SmoothGroup] = []
    others: list[NotSmoothed] = []
    for node in graph.module.graph.nodes:
        found = _source(graph, node, layers)
        if found is None:
            continue
        name, holders, channels = found
        group = _group(graph, node, (name, holders, channels), layers)
        if isinstance(group, str):
            others.append(NotSmoothed(name, group))
        else:
            groups.append(group)
    return tuple(groups), tuple(others)


def _source(
    graph: FloatGraph, node: fx.Node, layers: dict[str, Layer]
) -> tuple[str, tuple[str, ...], int] | None:
    """Return (name, stored tensors, channels) of a norm, a linear layer or a stored factor."""
    name = operator_name(node)
    layer = layers.get(node.name)
    if name in _NORMS:
        stored = [arg for arg in node.args[2:] if isinstance(arg, fx.Node)]
        channels = shape_of_node(node)[-1]
        return (layer.name if layer else node.name), _targets(stored), channels
    if layer is not None and layer.kind is Kind.LINEAR and layer.weight is not None:
        stored = [arg for arg in node.args[1:] if isinstance(arg, fx.Node)]
        return layer.name, _targets(stored), layer.weight_shape[0]
    if name in _PRODUCTS and len(shape_of_node(node)) > 1:
        channels = shape_of_node(node)[-1]
        stored = [arg for arg in node.all_input_nodes if arg.op == "get_attr"]
        if len(stored) == 1 and tuple(shape_of_node(stored[0]))[-1:] == (channels,):
            held = graph.stored_tensor(str(stored[0].target))
            if held.numel() == channels:
                return (layer.name if layer else node.name), _targets(stored), channels
    return None


def _targets(stored: list[fx.Node]) -> tuple[str, ...]:
    """Return the places of stored tensors; empty if another operation uses a tensor as well."""
    if any(arg.op != "get_attr" or len(arg.users) > 1 for arg in stored):
        return ()
    return tuple(str(arg.target) for arg in stored)


def _group(
    graph: FloatGraph,
    node: fx.Node,
    source: tuple[str, tuple[str, ...], int],
    layers: dict[str, Layer],
) -> SmoothGroup | str:
    name, holders, channels = source
    if not holders:
        return "it has no weight of its own that can take a scale"
    targets: list[str] = []
    for end in _ends(node, layers):
        if isinstance(end, str):
            return end
        problem = _cannot_take(graph, end, channels)
        if problem:
            return problem
        if end.name not in targets:
            targets.append(end.name)
    return SmoothGroup(name, holders, tuple(targets), channels)


def _ends(node: fx.Node, layers: dict[str, Layer]) -> Iterator[Layer | str]:
    """Yield the linear layers that read a value, and a reason for a path with another end."""
    seen, waiting = {node}, [node]
    while waiting:
        present = waiting.pop()
        for user in present.users:
            if user.op == "output":
                yield "its output is the network's"
                continue
            layer = layers.get(user.name)
            if layer is not None and layer.kind is Kind.LINEAR and user.args[0] is present:
                yield layer
            elif not _scales(user, present, seen):
                yield f"{operator_name(user).split('.')[1]} follows, which does not scale"
            elif user not in seen:
                seen.add(user)
                waiting.append(user)


def _scales(node: fx.Node, source: fx.Node, seen: set[fx.Node]) -> bool:
    """Tell whether the node gives s f(x) for s x, channel by channel, with s > 0."""
    name = operator_name(node)
    if is_pass_through(node) or name in ops.MEANS:
        return True
    others = [arg for arg in node.all_input_nodes if arg is not source]
    if any(arg in seen for arg in others):
        return False  # the scale would enter twice
    if name in ops.MATMULS:
        return node.args[1] is source and node.args[0] is not source
    if name in ops.ATTENTIONS:
        return node.args[2] is source and node.args[0] is not source
    return name in _PRODUCTS and bool(others)


def _cannot_take(graph: FloatGraph, layer: Layer, channels: int) -> str:
    node = graph.node_named(layer.node)
    if layer.weight is None or is_shared_argument(node) or has_computed_bias(graph, layer):
        return f"{layer.name} has a weight that is shared or computed"
    if layer.weight_shape[1] != channels:
        return f"the channels of {layer.name} do not correspond to its own"
    return ""
