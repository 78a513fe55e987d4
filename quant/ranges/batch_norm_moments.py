"""Means and variances of activations from batch norms alone (white paper, sections 3.1 and 3.3)."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from quant.graph import operators as ops
from quant.graph.float_graph import FloatGraph
from quant.graph.layer_pairs import clip_limit_tensors
from quant.graph.layers import Layer, shape_of_node
from quant.graph.operators import Kind, clip_limits, is_pass_through, operator_name

ALPHA = 6.0  # standard deviations that a data-free range covers; the paper's value


@dataclass(frozen=True, eq=False, slots=True)
class Moments:
    """Mean and standard deviation of each channel of an activation, and limits of the values.

    `mean` and `std` have shape (C,); `low` and `high` bound the values, infinite without a bound.
    `unclipped` holds the moments before a clip, `caps` (C,) the limits of channels if different.
    """

    mean: Tensor
    std: Tensor
    low: float = -torch.inf
    high: float = torch.inf
    unclipped: "Moments | None" = None
    caps: Tensor | None = None

    def range_of_channels(self, alpha: float = ALPHA) -> tuple[Tensor, Tensor]:
        """Return the outermost mean -+ alpha std over channels as two scalars, cut to the limits.

        Mean and std are beta and |gamma| of the batch norm, also behind a clip.
        """
        normal = self.unclipped or self
        low = (normal.mean - alpha * normal.std).min().clamp(self.low, self.high)
        tops = normal.mean + alpha * normal.std
        if self.caps is not None:
            tops = tops.minimum(self.caps)
        return low, tops.max().clamp(self.low, self.high)


def clipped_normal_moments(mean: Tensor, std: Tensor, low: float, high: float) -> Moments:
    """Return the moments (C,) of a normal variable clipped to [low, high] (or infinite ends).

    E = s (N(A) - N(B)) + m (Phi(B) - Phi(A)) + a Phi(A) + b (1 - Phi(B)), A = (a - m)/s and B = (b
    - m)/s; the second moment likewise. Checked against Monte Carlo in the tests.
    """
    mean, std = mean.double(), std.double().clamp(min=1e-12)
    lower, upper = (low - mean) / std, (high - mean) / std
    at_low, at_high = _normal_density(lower), _normal_density(upper)
    below, above = torch.special.ndtr(lower), torch.special.ndtr(-upper)
    inside = 1 - below - above
    low_mass = low * below if low > -torch.inf else torch.zeros_like(mean)
    high_mass = high * above if high < torch.inf else torch.zeros_like(mean)
    first = std * (at_low - at_high) + mean * inside + low_mass + high_mass
    second = (mean**2 + std**2) * inside + 2 * mean * std * (at_low - at_high)
    if low > -torch.inf:
        second += std**2 * lower * at_low + low * low_mass
    if high < torch.inf:
        second -= std**2 * upper * at_high - high * high_mass
    variance = (second - first**2).clamp(min=0)
    return Moments(first.float(), variance.sqrt().float(), low, high)


def _normal_density(z: Tensor) -> Tensor:
    return z.square().div(-2).exp() / math.sqrt(2 * math.pi)


def propagate_moments(
    graph: FloatGraph, input_moments: Moments | None = None
) -> dict[str, Moments]:
    """Return the moments of nodes determined by batch norms, by node name.

    The output of a folded layer, before the activation function, is normal with beta and |gamma| of
    the batch norm; clips, sums, pools, and layers over known inputs follow. Nodes that depend on
    unknown values are absent.
    """
    known: dict[str, Moments] = {}
    layers = {layer.node: layer for layer in graph.layers}
    for node in graph.module.graph.nodes:
        if node.op == "placeholder":
            found = input_moments
        elif node.op == "call_function":
            found = _moments_of_node(graph, node, layers.get(node.name), known)
        else:
            continue
        if found is not None:
            known[node.name] = found
    return known


def _moments_of_node(
    graph: FloatGraph, node: fx.Node, layer: Layer | None, known: dict[str, Moments]
) -> Moments | None:
    if node.name in graph.normals:
        normal = graph.normals[node.name]
        return Moments(normal.mean, normal.std)
    sources = [known.get(source.name) for source in node.all_input_nodes if source.name in known]
    first = sources[0] if sources else None
    if first is None:
        return None
    limits = clip_limits(node)
    if limits is not None:
        low = max(first.low, -torch.inf if limits[0] is None else limits[0])
        high = min(first.high, torch.inf if limits[1] is None else limits[1])
        whole = first.unclipped or first  # two clips in a row are one
        return replace(clipped_normal_moments(whole.mean, whole.std, low, high), unclipped=whole)
    if operator_name(node) in ops.CHANNEL_CLIPS:
        return _moments_after_caps(graph, node, first)
    if layer is not None and layer.kind is Kind.ADD and len(sources) == 2:
        return _moments_of_sum(node, sources)
    if layer is not None and layer.kind is Kind.AVERAGE_POOL:
        return first
    if layer is not None and layer.weight is not None:
        return _moments_after_layer(graph, layer, first)
    channels_stay = shape_of_node(node)[1:2] == shape_of_node(node.all_input_nodes[0])[1:2]
    return first if is_pass_through(node) and channels_stay else None


def _moments_after_caps(graph: FloatGraph, node: fx.Node, source: Moments) -> Moments | None:
    """Return the moments (C,) after a clip with a cap per channel, with floor zero or no floor."""
    floor, cap_node = clip_limit_tensors(node)
    cap, low = _stored_tensor_of(graph, cap_node), source.low
    if floor is not None:
        floors = _stored_tensor_of(graph, floor)
        if floors is None or bool(floors.any()):
            return None
        low = max(low, 0.0)
    if cap is None or low not in (0.0, -torch.inf):
        return None
    whole = source.unclipped or source
    cap = cap.flatten().expand(len(whole.mean))
    unit = cap.clamp(min=1e-12)
    # a normal clipped at its own cap is the same problem in units of that cap
    scaled = clipped_normal_moments(whole.mean / unit, whole.std / unit, low, 1.0)
    mean, std = scaled.mean * unit, scaled.std * unit
    return Moments(mean, std, low, float(cap.max()), whole, cap)


def _stored_tensor_of(graph: FloatGraph, node: object) -> Tensor | None:
    """Return the tensor of a get_attr node in the stored shape; None for other nodes."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    return graph.stored_tensor(str(node.target))


def _moments_of_sum(node: fx.Node, sources: list[Moments | None]) -> Moments | None:
    left, right = sources
    if left is None or right is None or left.mean.shape != right.mean.shape:
        return None
    factor = node.kwargs.get("alpha", 1)
    factor = float(factor) if isinstance(factor, int | float) else 1.0
    if operator_name(node).startswith("aten.sub"):
        factor = -factor
    ends = sorted((factor * right.low, factor * right.high))
    return Moments(
        left.mean + factor * right.mean,
        (left.std**2 + (factor * right.std) ** 2).sqrt(),
        left.low + ends[0],
        left.high + ends[1],
    )


def _moments_after_layer(graph: FloatGraph, layer: Layer, source: Moments) -> Moments | None:
    """Return mean and spread of a layer's output for inputs independent between channels."""
    if layer.weight is None or layer.channel_axis:
        return None
    weight = graph.stored_tensor(layer.weight)
    rows = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
    squares = weight.square().flatten(2).sum(2) if weight.dim() > 2 else weight.square()
    mean, variance = source.mean, source.std**2
    if layer.kind is Kind.DEPTHWISE:
        per_input = len(weight) // len(mean)
        out_mean = rows[:, 0] * mean.repeat_interleave(per_input)
        out_variance = squares[:, 0] * variance.repeat_interleave(per_input)
    elif rows.shape[1] == len(mean):
        out_mean, out_variance = rows @ mean, squares @ variance
    else:
        return None
    if layer.bias is not None:
        out_mean = out_mean + graph.stored_tensor(layer.bias)
    return Moments(out_mean, out_variance.sqrt())
