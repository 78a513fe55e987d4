"""Cross-layer equalization (white paper, section 3.2; Nagel et al. 2019)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from quant.graph.float_graph import ChannelNormal, FloatGraph, copy_graph_module
from quant.graph.layer_pairs import (
    Pair,
    Unpaired,
    clip_limit_tensors,
    convolution_groups,
    find_layer_pairs,
    scale_input_channels,
    weights_by_input_channel,
)
from quant.graph.layers import shape_of_node
from quant.graph.node_facts import NodeFacts, facts_of_node, write_node_facts
from quant.graph.operators import CHANNEL_CLIPS, clip_limits, operator_name
from quant.passes.methods import Reach

CONVERGED = 1e-4
MOST_ROUNDS = 200


@dataclass(frozen=True, eq=False, slots=True)
class Equalized:
    """The equalized graph, the pairs, the layers without a pair, and the number of rounds."""

    graph: FloatGraph
    pairs: tuple[Pair, ...]
    unpaired: tuple[Unpaired, ...]
    rounds: int


@dataclass(frozen=True, slots=True)
class Equalize:
    """Rescale channels so that the two layers of a pair use their ranges equally.

    s_i = sqrt(r1_i / r2_i); the first layer's channel i is divided by s_i, the second's input
    channel multiplied; both ranges become sqrt(r1_i r2_i). Pairs share layers, so rounds over the
    pairs repeat until every s differs from 1 by at most 1e-4. The float function stays: a clip's
    cap becomes a cap per channel, 6 / s_i for ReLU6. With `replace_relu6` clips become ReLU first,
    and the function changes. `reach` says what r is.
    """

    replace_relu6: bool = False
    reach: Reach = Reach.LARGEST

    def __call__(self, graph: FloatGraph) -> Equalized:
        """Return an equalized copy of a folded graph."""
        result = graph.copy_graph()
        if self.replace_relu6:
            replace_clips_by_relu(result)
        pairs, unpaired = find_layer_pairs(result)
        for pair in pairs:
            make_channel_caps(result, pair)
        rounds = 0
        while pairs and rounds < MOST_ROUNDS:
            rounds += 1
            largest = max(_equalize_pair(result, pair, self.reach) for pair in pairs)
            if largest < CONVERGED:
                break
        return Equalized(tidy_graph(result), pairs, unpaired, rounds)


def tidy_graph(graph: FloatGraph) -> FloatGraph:
    """Return the graph without unused tensors, with a new list of layers."""
    graph.module.graph.eliminate_dead_code()
    module = copy_graph_module(graph.module)
    return FloatGraph(module, graph.input_shape, graph.batch, graph.normals)


def replace_clips_by_relu(graph: FloatGraph) -> None:
    """Turn clips to [0, cap] into ReLU, in place; the float function changes."""
    for node in list(graph.module.graph.nodes):
        if node.op == "call_function" and _is_capped_relu(graph, node):
            node.target = torch.ops.aten.relu.default
            node.args, node.kwargs = (node.args[0],), {}
    graph.module.recompile()


def _is_capped_relu(graph: FloatGraph, node: fx.Node) -> bool:
    """Tell whether the node clips to [0, cap], with a common cap or a cap per channel."""
    if operator_name(node) in CHANNEL_CLIPS:
        floor, cap = clip_limit_tensors(node)
        if not isinstance(floor, fx.Node) or floor.op != "get_attr" or cap is None:
            return False
        return not bool(graph.stored_tensor(str(floor.target)).any())
    limits = clip_limits(node)
    return limits is not None and limits[0] == 0.0 and limits[1] is not None


def ranges_of_pair(
    graph: FloatGraph, pair: Pair, reach: Reach = Reach.LARGEST
) -> tuple[Tensor, Tensor]:
    """Return r1 and r2, (C,), of the channels between the two layers."""
    first, second = graph[pair.first], graph[pair.second]
    weight, following = (
        graph.stored_tensor(str(first.weight)),
        graph.stored_tensor(str(second.weight)),
    )
    rows = weight.flatten(1), weights_by_input_channel(following, convolution_groups(graph, second))
    if reach is Reach.RMS:
        return rows[0].square().mean(1).sqrt(), rows[1].square().mean(1).sqrt()
    return rows[0].abs().amax(1), rows[1].abs().amax(1)


def _equalize_pair(graph: FloatGraph, pair: Pair, reach: Reach) -> float:
    """Equalize a pair in place; return the difference of the outermost scale from 1."""
    before, after = ranges_of_pair(graph, pair, reach)
    usable = (before > 0) & (after > 0)
    scales = torch.where(usable, before.double() / after.double().clamp(min=1e-300), 1.0).sqrt()
    # an extreme scale would leave float32's range in the bias or the caps
    scales = scales.clamp(1e-8, 1e8).float()
    rescale_pair(graph, pair, scales)
    return float((scales - 1).abs().max())


def rescale_pair(graph: FloatGraph, pair: Pair, scales: Tensor) -> None:
    """Divide channel i between a pair's layers by scales[i] (C,), in place; exact.

    The clips of the pair must have a cap per channel already.
    """
    first, second = graph[pair.first], graph[pair.second]
    weight = graph.stored_tensor(str(first.weight))
    shape = (-1, *(1,) * (weight.dim() - 1))
    overwrite_tensor(graph, str(first.weight), weight / scales.reshape(shape))
    if first.bias is not None:
        overwrite_tensor(graph, first.bias, graph.stored_tensor(first.bias) / scales)
    following = graph.stored_tensor(str(second.weight))
    overwrite_tensor(
        graph,
        str(second.weight),
        scale_input_channels(following, scales, convolution_groups(graph, second)),
    )
    for clip in pair.clips:
        target = name_of_caps(graph, clip)
        caps = graph.stored_tensor(target)
        overwrite_tensor(graph, target, caps / scales.reshape(caps.shape))
    normal = graph.normals.get(first.node)
    if normal is not None:
        graph.normals[first.node] = ChannelNormal(normal.mean / scales, normal.std / scales)


def overwrite_tensor(graph: FloatGraph, target: str, value: Tensor) -> None:
    """Overwrite a tensor of the graph with a tensor of equal shape."""
    with torch.no_grad():
        graph.stored_tensor(target).copy_(value)


def name_of_caps(graph: FloatGraph, clip: str) -> str:
    """Return the name of the buffer with a clip's caps."""
    cap = clip_limit_tensors(graph.node_named(clip))[1]
    if not isinstance(cap, fx.Node):
        raise TypeError(f"A clip with caps must hold them as a tensor; {clip!r} has {cap!r}.")
    return str(cap.target)


def make_channel_caps(graph: FloatGraph, pair: Pair) -> None:
    """Turn the clips of a pair into clips with a cap per channel, in place.

    A clip with caps from elsewhere gets a separate buffer; a clip made here stays.
    """
    channels = len(graph.stored_tensor(str(graph[pair.first].weight)))
    for clip, axis in zip(pair.clips, pair.clip_axes, strict=True):
        if not hasattr(graph.module, f"caps_{clip}"):
            rank = len(shape_of_node(graph.node_named(clip)))
            _make_caps_of_clip(graph, clip, (channels,) + (1,) * (rank - axis - 1))


def _make_caps_of_clip(graph: FloatGraph, clip: str, shape: tuple[int, ...]) -> None:
    node = graph.node_named(clip)
    limits = clip_limits(node)
    if limits is not None and limits[1] is not None:
        caps, floor = torch.full(shape, limits[1]), limits[0]
    else:
        old = graph.stored_tensor(name_of_caps(graph, clip)).detach()
        caps = old.flatten().expand(shape[0]).reshape(shape).clone()
        floor = None if clip_limit_tensors(node)[0] is None else 0.0
    graph.module.register_buffer(f"caps_{clip}", caps)
    nodes = graph.module.graph
    with nodes.inserting_before(node):
        held = nodes.get_attr(f"caps_{clip}")
        write_node_facts(held, NodeFacts(shape=tuple(shape), real=True))
        lower = _floor_of_clip(graph, nodes, clip, floor, held)
    if lower is None:
        node.target = torch.ops.aten.minimum.default
        node.args, node.kwargs = (node.args[0], held), {}
    else:
        node.target = torch.ops.aten.clamp.Tensor
        node.args, node.kwargs = (node.args[0], lower, held), {}


def _floor_of_clip(
    graph: FloatGraph, nodes: fx.Graph, clip: str, floor: float | None, held: fx.Node
) -> fx.Node | None:
    if floor is None:
        return None
    graph.module.register_buffer(f"floor_{clip}", torch.zeros(()))
    lower = nodes.get_attr(f"floor_{clip}")
    write_node_facts(lower, replace(facts_of_node(held), shape=()))
    return lower
