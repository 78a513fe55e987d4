"""Widths of output channels for a mean number of bits: by variance, evenly, and at random.

Widths by variance follow from the float weights without training. Even and random widths are the
controls for a learned choice of widths.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping

import torch

from quant.config import WEIGHTED_KINDS, QuantConfig
from quant.errors import ConfigError
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import Layer
from quant.spec import Granularity, SpecChange

CHANNEL_WIDTHS = (1, 2, 4, 8)
"""The widths that a channel may have (papers.md, paper 3)."""
SWAPS = 5000
"""Pairs of channels that may change places where widths are dealt at random (our choice)."""
ChannelWidths = Mapping[str, tuple[int, ...]]
"""The width of each output channel, by layer."""


def weighted_channel_layers(graph: FloatGraph) -> Iterator[Layer]:
    """Yield the layers that allow widths of channels: convolutions and products with a weight."""
    for layer in graph.layers:
        if layer.weight is not None and layer.kind in WEIGHTED_KINDS:
            yield layer


def output_channel_count(layer: Layer) -> int:
    """Return the number of output channels of a layer's weight."""
    return layer.weight_shape[layer.channel_axis]


def weights_per_channel(layer: Layer) -> int:
    """Return the number of weights of one output channel."""
    return math.prod(layer.weight_shape) // output_channel_count(layer)


def mean_weight_bits(graph: FloatGraph, widths: ChannelWidths) -> float:
    """Return bits a weight on average: sum of d_in b_j over sum of d_in."""
    layers = [layer for layer in weighted_channel_layers(graph) if layer.name in widths]
    bits = sum(weights_per_channel(layer) * sum(widths[layer.name]) for layer in layers)
    return bits / sum(math.prod(layer.weight_shape) for layer in layers)


def widths_by_variance(
    graph: FloatGraph, budget: float, choices: tuple[int, ...] = CHANNEL_WIDTHS
) -> dict[str, tuple[int, ...]]:
    """Return the widths with the least bound of the loss for a mean of `budget` bits.

    The loss grows at most by L/2 sum_j d_in eps_j, and the error of a channel of variance sigma^2
    at b bits is eps_j ~ sigma_j^2 / 4^b (papers.md, paper 3). Channels start at the least width;
    the next bits go where a bit lowers the sum most (exact but for the last channel, since the
    gains of a channel fall).

    Raises:
        ConfigError: the budget lies outside the widths to choose from.
    """
    _check_bit_budget(budget, choices)
    layers = list(weighted_channel_layers(graph))
    sizes = {layer.name: weights_per_channel(layer) for layer in layers}
    found = {layer.name: [choices[0]] * output_channel_count(layer) for layer in layers}
    left = sum(sizes[name] * (budget * len(own) - sum(own)) for name, own in found.items())
    variances = {layer.name: channel_variances(graph, layer) for layer in layers}
    heap: list[tuple[float, str, int, int]] = []
    for name, own in variances.items():
        for channel, variance in enumerate(own):
            _offer_wider_step(heap, variance, (name, channel, 0), choices)
    while heap:
        _, name, channel, step = heapq.heappop(heap)
        cost = sizes[name] * (choices[step + 1] - choices[step])
        if cost > left + 1e-9:
            continue
        left -= cost
        found[name][channel] = choices[step + 1]
        _offer_wider_step(heap, variances[name][channel], (name, channel, step + 1), choices)
    return {name: tuple(own) for name, own in found.items()}


def channel_variances(graph: FloatGraph, layer: Layer) -> list[float]:
    """Return the mean square of each output channel's weights, in order."""
    weight = graph.stored_tensor(str(layer.weight)).detach().movedim(layer.channel_axis, 0)
    squares: list[float] = weight.reshape(len(weight), -1).double().square().mean(1).tolist()
    return squares


def even_channel_widths(
    graph: FloatGraph, budget: float, choices: tuple[int, ...] = CHANNEL_WIDTHS
) -> dict[str, tuple[int, ...]]:
    """Return the widths next to `budget`, mixed in one ratio in every layer.

    A budget in `choices` gives a uniform network of the width. For a budget between two choices,
    every n-th channel of a layer has the wider choice.

    Raises:
        ConfigError: the budget lies outside the widths to choose from.
    """
    _check_bit_budget(budget, choices)
    low = max(width for width in choices if width <= budget)
    high = min((width for width in choices if width > budget), default=low)
    share = (budget - low) / (high - low) if high > low else 0.0
    found: dict[str, tuple[int, ...]] = {}
    for layer in weighted_channel_layers(graph):
        count = output_channel_count(layer)
        ends = [
            math.floor(share * (place + 1)) > math.floor(share * place) for place in range(count)
        ]
        found[layer.name] = tuple(high if wide else low for wide in ends)
    return found


def random_channel_widths(
    graph: FloatGraph, widths: ChannelWidths, seed: int
) -> dict[str, tuple[int, ...]]:
    """Return `widths` dealt at random to channels of the whole network.

    The histogram over channels stays equal. Channels differ in fan-in, so the mean over weights
    would change: random pairs change places as long as the mean comes nearer to the mean of
    `widths` (our choice).
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = {layer.name: weights_per_channel(layer) for layer in weighted_channel_layers(graph)}
    fans = [sizes[name] for name, own in widths.items() for _ in own]
    pool = [bits for own in widths.values() for bits in own]
    dealt = [pool[place] for place in torch.randperm(len(pool), generator=generator).tolist()]
    surplus = sum((new - old) * fan for new, old, fan in zip(dealt, pool, fans, strict=True))
    proposals = torch.randint(0, len(pool), (SWAPS, 2), generator=generator).tolist()
    for first, second in proposals:
        moved = (dealt[second] - dealt[first]) * (fans[first] - fans[second])
        if abs(surplus + moved) < abs(surplus):
            surplus += moved
            dealt[first], dealt[second] = dealt[second], dealt[first]
    return _deal_widths(dealt, widths)


def shuffle_within_layers(widths: ChannelWidths, seed: int) -> dict[str, tuple[int, ...]]:
    """Return the widths of a layer in random order: the choice by layer remains."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, own in widths.items():
        order = torch.randperm(len(own), generator=generator).tolist()
        found[name] = tuple(own[place] for place in order)
    return found


def count_channel_widths(widths: ChannelWidths) -> dict[str, dict[int, int]]:
    """Return the number of channels of each width, by layer, the narrowest first.

    >>> count_channel_widths({"conv": (4, 2, 4)})
    {'conv': {2: 1, 4: 2}}
    """
    return {name: dict(sorted(Counter(own).items())) for name, own in widths.items()}


def config_with_channel_widths(config: QuantConfig, widths: ChannelWidths) -> QuantConfig:
    """Return the configuration with a rule for a layer with widths of channels.

    A layer with equal widths gets the width without widths of channels.
    """
    for name, own in widths.items():
        change = SpecChange(
            symmetric=True,
            granularity=Granularity.PER_CHANNEL,
            bits=own[0] if len(set(own)) == 1 else None,
            channel_bits=own if len(set(own)) > 1 else None,
        )
        config = config.with_layer_change(name, weight=change)
    return config


def channel_widths_of_config(graph: FloatGraph, config: QuantConfig) -> dict[str, tuple[int, ...]]:
    """Return the width of each output channel under a configuration, by layer."""
    chosen = config.resolve_layers(graph.layers)
    return {
        layer.name: spec.channel_bits or (spec.bits,) * output_channel_count(layer)
        for layer in weighted_channel_layers(graph)
        for spec in (chosen[layer.name].weight,)
    }


def _deal_widths(pool: list[int], widths: ChannelWidths) -> dict[str, tuple[int, ...]]:
    found, start = {}, 0
    for name, own in widths.items():
        found[name] = tuple(pool[start : start + len(own)])
        start += len(own)
    return found


def _offer_wider_step(
    heap: list[tuple[float, str, int, int]],
    variance: float,
    place: tuple[str, int, int],
    choices: tuple[int, ...],
) -> None:
    """Put the next wider step of a channel on the heap, with the gain for a bit."""
    name, channel, step = place
    if step + 1 < len(choices):
        now, wider = choices[step], choices[step + 1]
        gain = variance * (4.0**-now - 4.0**-wider) / (wider - now)
        heapq.heappush(heap, (-gain, name, channel, step))


def _check_bit_budget(budget: float, choices: tuple[int, ...]) -> None:
    if not choices[0] <= budget <= choices[-1]:
        raise ConfigError(
            f"Bits a weight must lie between {choices[0]} and {choices[-1]} on average; got "
            f"{budget:g}."
        )
