"""Find pairs of layers that equalization may rescale: only scaling functions stand between."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, fx

from quant.graph import operators as ops
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer, shape_of_node
from quant.graph.operators import Kind, clip_limits, operator_name

WEIGHTED = (Kind.CONV, Kind.DEPTHWISE, Kind.LINEAR)


_SLOPED = ops.aten_operator_names("leaky_relu.default leaky_relu_.default prelu.default")
_SAME = ops.aten_operator_names(
    "dropout.default dropout_.default feature_dropout.default clone.default"
    " contiguous.default alias.default detach.default detach_.default to.dtype"
)
_RESHAPES = ops.aten_operator_names(
    "reshape.default view.default view_as.default flatten.using_ints unflatten.int"
    " squeeze.default squeeze.dim squeeze.dims unsqueeze.default"
)
_REDUCTIONS = ops.MEANS | ops.aten_operator_names("amax.default")
_POOLS = ops.AVERAGE_POOLS | ops.aten_operator_names(
    "max_pool1d.default max_pool2d.default upsample_nearest2d.vec"
)
_PADS = ops.aten_operator_names("pad.default constant_pad_nd.default")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers with only functions f(s x) = s f(x) between (DFQ, section 4.1).

    Attributes:
        first: name of the layer whose output channels are divided by s.
        second: name of the layer whose input channels are multiplied by s.
        clips: clips at a cap between the layers; the cap scales with the channel.
        sloped: True if a PReLU or leaky ReLU stands between.
        clip_axes: channel axis of each clip.
    """

    first: str
    second: str
    clips: tuple[str, ...] = ()
    sloped: bool = False
    clip_axes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A layer whose output channels cannot be rescaled, and the reason."""

    layer: str
    reason: str


def find_layer_pairs(graph: FloatGraph) -> tuple[tuple[Pair, ...], tuple[Unpaired, ...]]:
    """Return the pairs of layers that can be equalized, and the weighted layers that begin no pair.

    A connection may hold padding, pools over space, reshapes that keep the channels, ReLU, ReLU6
    and other clips from zero, PReLU. A fork ends the connection: two users see one scale.
    """
    layers = {layer.node: layer for layer in graph.layers}
    pairs: list[Pair] = []
    unpaired: list[Unpaired] = []
    for layer in graph.layers:
        if layer.kind not in WEIGHTED:
            continue
        pair = _follow_to_pair(graph, layer, layers)
        if isinstance(pair, Pair):
            pairs.append(pair)
        else:
            unpaired.append(Unpaired(layer.name, pair))
    return tuple(pairs), tuple(unpaired)


def _follow_to_pair(graph: FloatGraph, layer: Layer, layers: dict[str, Layer]) -> Pair | str:
    """Return the pair begun by `layer`, or the reason why `layer` begins none."""
    node, sloped = graph.node_named(layer.node), False
    if layer.weight is None or layer.channel_axis != 0 or is_shared_argument(node):
        return "its weight is shared, computed, or of a transposed convolution"
    if has_computed_bias(graph, layer):
        return "its bias is computed"
    axis: int | None = output_channel_axis(layer, len(shape_of_node(node)))
    clips: list[tuple[str, int]] = []
    while axis is not None:
        users = list(node.users)
        if len(users) != 1:
            return "its output is the network's" if not users else _fork_reason(users, layers)
        user = users[0]
        if user.op == "output":
            return "its output is the network's"
        target = layers.get(user.name)
        if target is not None and target.kind in WEIGHTED and user.args[0] is node:
            names, axes = tuple(name for name, _ in clips), tuple(place for _, place in clips)
            problem = _scale_refusal(graph, layer, target, axis)
            return problem or Pair(layer.name, target.name, names, sloped, axes)
        if _clips_at_cap(graph, user, node, axis):
            clips.append((user.name, axis))
        else:
            axis = _channel_axis_after(user, node, axis)
        sloped = sloped or operator_name(user) in _SLOPED
        node = user
    return f"{_node_in_words(node, layers)} follows, which does not scale channel by channel"


def output_channel_axis(layer: Layer, rank: int) -> int:
    """Return the axis of output channels in the operation's result of rank `rank`.

    Example:
        >>> conv = Layer("c", Kind.CONV, "c", "c", (), (1, 8, 4, 4))
        >>> output_channel_axis(conv, rank=4)
        1
    """
    return rank - 1 if layer.kind is Kind.LINEAR else 1


def channels_last(value: Tensor, layer: Layer) -> Tensor:
    """Return a layer's output of shape (N, C, ...) or (..., C) as rows (..., C), a view."""
    return value.movedim(output_channel_axis(layer, value.dim()), -1)


def nodes_of_pair(graph: FloatGraph, pair: Pair) -> Iterator[fx.Node]:
    """Yield the nodes between the two layers of a pair, in order."""
    stop = graph[pair.second].node
    node = next(iter(graph.node_named(graph[pair.first].node).users))
    while node.name != stop:
        yield node
        node = next(iter(node.users))


def _fork_reason(users: list[fx.Node], layers: dict[str, Layer]) -> str:
    return (
        f"its output forks to {len(users)}: {', '.join(_node_in_words(u, layers) for u in users)}"
    )


def _node_in_words(node: fx.Node, layers: dict[str, Layer]) -> str:
    return layers[node.name].name if node.name in layers else operator_name(node).split(".")[1]


def is_shared_argument(node: fx.Node, *places: int) -> bool:
    """Tell whether another operation uses an argument of `node`: weight (1) or bias (2)."""
    return any(
        isinstance(arg, fx.Node) and len(arg.users) > 1
        for place, arg in enumerate(node.args)
        if place in (places or (1, 2))
    )


def has_computed_bias(graph: FloatGraph, layer: Layer) -> bool:
    """Tell whether another operation computes the bias, so that a stored bias cannot be set."""
    arguments = graph.node_named(layer.node).args
    return layer.bias is None and len(arguments) > 2 and arguments[2] is not None


def _scale_refusal(graph: FloatGraph, first: Layer, second: Layer, axis: int) -> str:
    """Return why the second layer cannot take scales on axis `axis`; empty if possible."""
    user = graph.node_named(second.node)
    if second.weight is None or second.channel_axis != 0 or is_shared_argument(user):
        return f"{second.name} has a weight that is shared, computed, or transposed"
    mixed = output_channel_axis(second, len(shape_of_node(user.all_input_nodes[0])))
    own = len(graph.stored_tensor(str(first.weight)))
    if axis != mixed or own != input_channel_count(second, convolution_groups(graph, second)):
        return f"the channels of {second.name} do not correspond to its own"
    return ""


def _clips_at_cap(graph: FloatGraph, node: fx.Node, source: fx.Node, axis: int) -> bool:
    """Tell whether the node clips to [0, cap] or at a cap alone: exact once the cap scales too."""
    if operator_name(node) in ops.CHANNEL_CLIPS:
        return node.args[0] is source and _has_channel_caps(graph, node, axis)
    limits = clip_limits(node)
    return limits is not None and limits[1] is not None and limits[0] in (0.0, None)


def clip_limit_tensors(node: fx.Node) -> tuple[object, object]:
    """Return (floor, cap) of a clip with tensor limits: nodes, or None without a limit."""
    if not operator_name(node).startswith("aten.clamp"):
        return None, node.args[1]  # minimum
    if operator_name(node).startswith("aten.clamp_max"):
        return None, node.args[1]
    floor, cap = ([*node.args[1:], None, None])[:2]
    return node.kwargs.get("min", floor), node.kwargs.get("max", cap)


def _has_channel_caps(graph: FloatGraph, node: fx.Node, axis: int) -> bool:
    """Tell whether a clip has a stored cap, (1,) or (C,), and a floor of zero or None."""
    floor, cap = clip_limit_tensors(node)
    if not (isinstance(cap, fx.Node) and cap.op == "get_attr"):
        return False
    if floor is not None:
        if not (isinstance(floor, fx.Node) and floor.op == "get_attr"):
            return False
        if bool(graph.stored_tensor(str(floor.target)).any()):
            return False
    rank = len(shape_of_node(node))
    shape = tuple(graph.stored_tensor(str(cap.target)).shape)
    spread = (1,) * (rank - len(shape)) + shape
    return all(size == 1 for place, size in enumerate(spread) if place != axis)


def _channel_axis_after(node: fx.Node, source: fx.Node, axis: int) -> int | None:
    """Return the channel axis after a function with f(s x) = s f(x) for a scale s per channel.

    None for other functions, and for functions that mix, reorder or spread channels.
    """
    name, before = operator_name(node), shape_of_node(source)
    if node.args[0] is not source:
        return None
    if name in ops.RELUS or name in _SLOPED or name in _SAME or clip_limits(node) == (0.0, None):
        return axis
    if name in _RESHAPES:
        return _axis_after_reshape(before, shape_of_node(node), axis)
    if name in _REDUCTIONS:
        return _axis_after_reduction(node, len(before), axis)
    mixed = 0  # number of last axes that the function mixes
    if name in _POOLS:
        mixed = 1 if "1d" in name else 2
    elif name in _PADS and not _pads_with_nonzero(node):
        sizes = node.args[1]
        mixed = len(sizes) // 2 if isinstance(sizes, list | tuple) else 0
    return axis if mixed and axis < len(before) - mixed else None


def _axis_after_reshape(before: tuple[int, ...], after: tuple[int, ...], axis: int) -> int | None:
    """Return the new position of an axis kept by a reshape; None for a split axis."""
    sizes = before[axis], math.prod(before[:axis]), math.prod(before[axis + 1 :])
    for place in range(1, len(after)):
        if (after[place], math.prod(after[:place]), math.prod(after[place + 1 :])) == sizes:
            return place
    return None


def _axis_after_reduction(node: fx.Node, rank: int, axis: int) -> int | None:
    """Return the position of an axis after a reduction of other axes; None for a reduced axis."""
    arguments = [*node.args, None, None]
    axes = arguments[1]
    if not isinstance(axes, list | tuple) or not axes:
        return None  # a reduction over all axes
    reduced = {int(place) % rank for place in axes if isinstance(place, int)}
    if axis in reduced:
        return None
    keep = node.kwargs.get("keepdim", arguments[2])
    return axis if keep else axis - sum(place < axis for place in reduced)


def _pads_with_nonzero(node: fx.Node) -> bool:
    others = [a for a in node.args[2:] if isinstance(a, int | float) and a != 0]
    modes = [a for a in node.args[2:] if isinstance(a, str) and a != "constant"]
    return bool(others or modes or node.kwargs.get("value"))


def convolution_groups(graph: FloatGraph, layer: Layer) -> int:
    """Return the number of groups of a convolution; 1 for other layers."""
    if layer.kind is Kind.LINEAR:
        return 1
    arguments = graph.node_named(layer.node).args
    groups = arguments[6] if len(arguments) > 6 else 1
    return groups if isinstance(groups, int) else 1


def input_channel_count(layer: Layer, groups: int) -> int:
    """Return the number of input channels of a layer.

    Example:
        >>> linear = Layer("l", Kind.LINEAR, "l", "l", (), (1, 8), weight_shape=(8, 3))
        >>> input_channel_count(linear, groups=1)
        3
    """
    return layer.weight_shape[1] * groups


def weights_by_input_channel(weight: Tensor, groups: int) -> Tensor:
    """Return the weight (O, C/groups, ...) in shape (C, -1): the values that multiply a channel.

    A view if the memory layout allows a view.
    """
    grouped = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
    return grouped.transpose(1, 2).reshape(groups * weight.shape[1], -1)


def scale_input_channels(weight: Tensor, scales: Tensor, groups: int) -> Tensor:
    """Return the weight (O, C/groups, ...) with input channel i times scales[i].

    `scales` has shape (C,).
    """
    grouped = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
    return (grouped * scales.reshape(groups, 1, -1, 1)).reshape(weight.shape)
