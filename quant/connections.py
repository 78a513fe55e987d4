"""Which layers feed which through functions that scale: the pairs that equalization may touch."""

from dataclasses import dataclass

from torch import Tensor, fx

from quant import operators as ops
from quant.graph import FloatGraph, Layer, shape_of
from quant.operators import Kind, clip_limits, is_pass_through, operator

WEIGHTED = (Kind.CONV, Kind.DEPTHWISE, Kind.LINEAR)
_SLOPED = frozenset({"aten.leaky_relu.default", "aten.leaky_relu_.default", "aten.prelu.default"})


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers with nothing between but functions f(s x) = s f(x), channel by channel.

    `clips` names the nodes between that clip above, whose caps scale with the channel; `sloped`
    says whether a PReLU or leaky ReLU stands between.
    """

    first: str
    second: str
    clips: tuple[str, ...] = ()
    sloped: bool = False


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A layer whose output channels cannot be rescaled, and why."""

    layer: str
    reason: str


def find_pairs(graph: FloatGraph) -> tuple[tuple[Pair, ...], tuple[Unpaired, ...]]:
    """Return the pairs of layers that can be equalized, and the layers that begin none.

    A connection may hold padding, pools over space, reshapes that keep the channels, ReLU,
    ReLU6 and other clips from zero, PReLU. It ends at a fork: two users see one scale.
    """
    layers = {layer.node: layer for layer in graph.layers}
    pairs: list[Pair] = []
    unpaired: list[Unpaired] = []
    for layer in graph.layers:
        if layer.kind not in WEIGHTED:
            continue
        found = _follow(graph, layer, layers)
        if isinstance(found, Pair):
            pairs.append(found)
        else:
            unpaired.append(Unpaired(layer.name, found))
    return tuple(pairs), tuple(unpaired)


def _follow(graph: FloatGraph, layer: Layer, layers: dict[str, Layer]) -> Pair | str:
    """Return the pair that `layer` begins, or why it begins none."""
    if layer.weight is None or layer.channel_axis != 0 or _is_shared(graph.node(layer.node)):
        return "its weight is shared, computed, or of a transposed convolution"
    node, sloped = graph.node(layer.node), False
    clips: list[str] = []
    while True:
        users = list(node.users)
        if len(users) != 1:
            return "its output is the network's" if not users else _fork(users, layers)
        user = users[0]
        if user.op == "output":
            return "its output is the network's"
        target = layers.get(user.name)
        if target is not None and target.kind in WEIGHTED and user.args[0] is node:
            problem = _cannot_take(graph, layer, target, user)
            return problem or Pair(layer.name, target.name, tuple(clips), sloped)
        if _clips_above(user):
            clips.append(user.name)
        elif not _scales(user, node):
            return f"{_spell(user, layers)} follows, which does not scale channel by channel"
        sloped = sloped or operator(user) in _SLOPED
        node = user


def _fork(users: list[fx.Node], layers: dict[str, Layer]) -> str:
    return f"its output forks to {len(users)}: {', '.join(_spell(u, layers) for u in users)}"


def _spell(node: fx.Node, layers: dict[str, Layer]) -> str:
    return layers[node.name].name if node.name in layers else operator(node).split(".")[1]


def _is_shared(node: fx.Node) -> bool:
    return any(arg.op == "get_attr" and len(arg.users) > 1 for arg in node.all_input_nodes[1:])


def _cannot_take(graph: FloatGraph, first: Layer, second: Layer, user: fx.Node) -> str:
    """Return why the second layer cannot absorb the scales, or nothing."""
    if second.weight is None or second.channel_axis != 0 or _is_shared(user):
        return f"{second.name} has a weight that is shared, computed, or transposed"
    if len(graph.tensor(str(first.weight))) != input_channels(second, groups_of(graph, second)):
        return f"the channels of {second.name} do not correspond to its own"
    return ""


def _clips_above(node: fx.Node) -> bool:
    """Whether the node clips to [0, cap] or at a cap alone: exact once the cap scales too."""
    if operator(node) in ops.CHANNEL_CLIPS:
        return True
    limits = clip_limits(node)
    return limits is not None and limits[1] is not None and limits[0] in (0.0, None)


def _scales(node: fx.Node, source: fx.Node) -> bool:
    """Whether f(s x) = s f(x) for every channel's s > 0, and channels stay where they are."""
    name = operator(node)
    if name in ops.RELUS or name in _SLOPED or clip_limits(node) == (0.0, None):
        return node.all_input_nodes[0] is source
    if name in ops.AVERAGE_POOLS:
        return True
    if name in ops.MEANS:
        return len(shape_of(source)) == 4 and shape_of(node)[1:2] == shape_of(source)[1:2]
    if not is_pass_through(node) or _pads_with_other_than_zero(node):
        return False
    before, after = shape_of(source), shape_of(node)
    same_channels = len(before) > 1 and before[1:2] == after[1:2]
    # a flatten keeps channels apart only where each of them is one value
    spread = len(after) == 2 and len(before) == 4 and before[2:] != (1, 1)
    moves = any(word in name for word in ("transpose", "permute", "reshape", "view", "index"))
    return same_channels and not spread and not (moves and len(after) > 2)


def _pads_with_other_than_zero(node: fx.Node) -> bool:
    if not operator(node).startswith(("aten.pad", "aten.constant_pad")):
        return False
    others = [a for a in node.args[2:] if isinstance(a, int | float) and a != 0]
    modes = [a for a in node.args[2:] if isinstance(a, str) and a != "constant"]
    return bool(others or modes or node.kwargs.get("value"))


def groups_of(graph: FloatGraph, layer: Layer) -> int:
    """Return the number of groups of a convolution, 1 for others."""
    if layer.kind is Kind.LINEAR:
        return 1
    arguments = graph.node(layer.node).args
    groups = arguments[6] if len(arguments) > 6 else 1
    return groups if isinstance(groups, int) else 1


def input_channels(layer: Layer, groups: int) -> int:
    """Return how many channels the layer takes."""
    return layer.weight_shape[1] * groups


def by_input_channel(weight: Tensor, groups: int) -> Tensor:
    """Return the weight as (C, ...): for each input channel all values that multiply it.

    A view where the layout allows it. `weight` has shape (O, C/groups, ...).
    """
    grouped = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
    return grouped.transpose(1, 2).reshape(groups * weight.shape[1], -1)


def scaled_inputs(weight: Tensor, scales: Tensor, groups: int) -> Tensor:
    """Return the weight with what multiplies input channel i multiplied by scales[i]."""
    grouped = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
    return (grouped * scales.reshape(groups, 1, -1, 1)).reshape(weight.shape)
