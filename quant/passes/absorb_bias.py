"""Absorb high biases into the next layer (white paper, section 3.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from quant.graph.float_graph import ChannelNormal, FloatGraph
from quant.graph.layer_pairs import (
    Pair,
    channels_last,
    convolution_groups,
    find_layer_pairs,
    has_computed_bias,
    nodes_of_pair,
)
from quant.graph.operators import AVERAGE_POOLS, clip_limits, operator_name
from quant.graph.walk import Walk
from quant.inputs import Inputs
from quant.passes.equalize import make_channel_caps, name_of_caps, overwrite_tensor, tidy_graph

SIGMAS = 3.0  # beta - 3 gamma: exact for 99.865 % of inputs if they are normal


@dataclass(frozen=True, eq=False, slots=True)
class Absorbed:
    """The graph afterwards, and the absorbed c (C,) of pairs in the unit of the activation.

    `inexact` names the pairs with zero padding between the layers, by the second layer or before:
    the border is approximate.
    """

    graph: FloatGraph
    shifts: dict[tuple[str, str], Tensor]
    inexact: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class AbsorbBias:
    """Move c from the bias of a pair's first layer through the ReLU into the second bias.

    b1' = b1 - c and b2' = b2 + W2 c; exact where the activation before ReLU is at least c. Data-
    free c = max(0, beta - 3 gamma); with `minima` (layer -> (C,) least value before the activation
    function, over calibration images) c = max(0, minimum). The cap of a clip falls by c, and c is
    at most the cap. `from_data` tells a runner of recipes to bring the minima.
    """

    from_data: bool = False

    def __call__(self, graph: FloatGraph, minima: Mapping[str, Tensor] | None = None) -> Absorbed:
        """Return a copy of a folded graph with absorbed biases; `minima` have shape (C,)."""
        result = graph.copy_graph()
        shifts: dict[tuple[str, str], Tensor] = {}
        inexact: list[tuple[str, str]] = []
        for pair in find_layer_pairs(result)[0]:
            shift = _absorbable_shift(result, pair, minima)
            if shift is None or not bool((shift > 0).any()):
                continue
            make_channel_caps(result, pair)
            for clip in pair.clips:  # above its cap a channel carries no more than the cap
                shift = shift.minimum(result.stored_tensor(name_of_caps(result, clip)).flatten())
            _absorb_shift(result, pair, shift)
            shifts[pair.first, pair.second] = shift
            if _pads_second_input(result, pair):
                inexact.append((pair.first, pair.second))
        return Absorbed(tidy_graph(result), shifts, tuple(inexact))


def _absorbable_shift(
    graph: FloatGraph, pair: Pair, minima: Mapping[str, Tensor] | None
) -> Tensor | None:
    """Return c (C,) for the pair; None if c is unknown or the second bias cannot take c."""
    first = graph[pair.first]
    if pair.sloped or first.bias is None or not _has_rectifier_between(graph, pair):
        return None
    if has_computed_bias(graph, graph[pair.second]):
        return None
    if minima is not None:
        least = minima.get(pair.first)
        return None if least is None else least.clamp(min=0)
    normal = graph.normals.get(first.node)
    return None if normal is None else (normal.mean - SIGMAS * normal.std).clamp(min=0)


def _has_rectifier_between(graph: FloatGraph, pair: Pair) -> bool:
    """Tell whether a function with f(x) = x above zero stands between the layers.

    A bare connection would gain nothing.
    """
    return bool(pair.clips) or any(
        clip_limits(node) == (0.0, None) for node in nodes_of_pair(graph, pair)
    )


def _absorb_shift(graph: FloatGraph, pair: Pair, shift: Tensor) -> None:
    first, second = graph[pair.first], graph[pair.second]
    for clip in pair.clips:
        caps = graph.stored_tensor(name_of_caps(graph, clip))
        overwrite_tensor(graph, name_of_caps(graph, clip), caps - shift.reshape(caps.shape))
    overwrite_tensor(graph, str(first.bias), graph.stored_tensor(str(first.bias)) - shift)
    groups = convolution_groups(graph, second)
    weight = graph.stored_tensor(str(second.weight))
    carried = mean_after_layer(weight, shift, groups)
    graph.store_bias(second, graph.bias_of_layer(second) + carried)
    normal = graph.normals.get(first.node)
    if normal is not None:
        graph.normals[first.node] = ChannelNormal(normal.mean - shift, normal.std)


def mean_after_layer(weight: Tensor, shift: Tensor, groups: int) -> Tensor:
    """Return W c (O,): the effect of input means c (C,) on the outputs, borders apart."""
    taps = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
    grouped = taps.reshape(groups, -1, taps.shape[1])
    return torch.einsum("goi,gi->go", grouped, shift.reshape(groups, -1)).reshape(-1)


def _pads_second_input(graph: FloatGraph, pair: Pair) -> bool:
    """Tell whether the second layer, or a node before, pads the second layer's input with zeros."""
    second = graph[pair.second]
    arguments = graph.node_named(second.node).args
    padding = arguments[4] if len(arguments) > 4 else 0
    if padding == "same":
        padding = [size - 1 for size in second.weight_shape[2:]]
    own = padding != "valid" and _has_nonzero_size(padding)
    return own or any(_pads_own_input(node) for node in nodes_of_pair(graph, pair))


def _pads_own_input(node: fx.Node) -> bool:
    """Tell whether the node pads the input with zeros; a maximum never takes the padding."""
    if operator_name(node) in AVERAGE_POOLS and "adaptive" not in operator_name(node):
        return len(node.args) > 3 and _has_nonzero_size(node.args[3])
    return "pad" in operator_name(node)


def _has_nonzero_size(sizes: object) -> bool:
    """Tell whether a size, or one of several sizes, is not zero."""
    return any(size != 0 for size in (sizes if isinstance(sizes, list | tuple) else (sizes,)))


def minima_of_channels(graph: FloatGraph, batches: Sequence[Inputs]) -> dict[str, Tensor]:
    """Return the least values (C,) of channels before the activation function, over images.

    Only for the first layers of pairs.
    """
    firsts = {pair.first for pair in find_layer_pairs(graph)[0]}
    walk = Walk(graph.module, batches)
    minima: dict[str, Tensor] = {}
    for layer in graph.layers:
        if layer.name not in firsts:
            continue
        least = [
            channels_last(value, layer).flatten(0, -2).amin(0)
            for value in walk.output_of_node(layer.node)
        ]
        minima[layer.name] = torch.stack(least).amin(0)
    return minima
