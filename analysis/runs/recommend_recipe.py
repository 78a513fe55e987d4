"""A recipe for a network from what its tensors show under a configuration, before any run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.network import Network
from analysis.ranges.findings import Cause, ExaminedTensor
from quant.config import QuantConfig
from quant.graph.layer_pairs import Pair
from quant.graph.layers import Layer
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.methods import Method
from quant.passes.recipe import Pass, Recipe

FEW_WEIGHTS = 64
"""Weights of a channel below which rounding errors move the mean of its output (our choice)."""
LOW_BITS = 5
"""Up to these bits of weights learned rounding is worth its time (our choice)."""
ROUNDING_ITERATIONS = 400


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A recipe, which may be empty, and why: a sentence for each repair."""

    recipe: Recipe
    reasons: tuple[str, ...]


def recommend_recipe(
    network: Network,
    config: QuantConfig,
    weights: Sequence[ExaminedTensor],
    pairs: Sequence[Pair],
    *,
    images: bool,
) -> Recommendation:
    """Return repairs that suit the suspects among the weights, in the legal order.

    `weights` are examined under `config`. Equalization suits unequal channels in layers that can
    be equalized; learned rounding suits 5 bits and fewer; bias correction suits channels of few
    weights, whose rounding errors do not average out. `images` says whether repairs can learn.
    """
    steps: list[Pass] = []
    reasons: list[str] = []
    in_pairs = {name for pair in pairs for name in (pair.first, pair.second)}
    unequal = [
        item
        for item in weights
        if item.layer_name in in_pairs and any(f.cause is Cause.CHANNELS for f in item.findings)
    ]
    if unequal:
        worst = max(unequal, key=lambda item: item.bits_lost)
        steps.append(Equalize())
        reasons.append(
            f"Equalize: {len(unequal)} of {len(weights)} weights have channels of unequal range "
            f"under one encoding, most of all {worst.layer_name}."
        )
    chosen = config.resolve_layers(network.graph.layers)
    bits = {
        item.layer_name: chosen[item.layer_name].weight.bits
        for item in weights
        if item.fit is not None
    }
    low = [name for name, width in bits.items() if width <= LOW_BITS]
    if low and images:
        steps.append(AdaRound(ROUNDING_ITERATIONS))
        reasons.append(f"AdaRound: {len(low)} weights have {LOW_BITS} bits or fewer.")
        return Recommendation(tuple(steps), tuple(reasons))
    few = [
        layer.name
        for layer in network.graph.layers
        if layer.name in bits and layer.bias and _weights_per_channel(layer) < FEW_WEIGHTS
    ]
    if few or unequal:
        steps.append(CorrectBias(Method.EMPIRICAL if images else Method.ANALYTIC))
        reasons.append(
            f"Correct biases: {len(few)} layers have fewer than {FEW_WEIGHTS} weights per channel, "
            "whose rounding errors move the mean."
            if few
            else "Correct biases: rounding errors that remain move the means of channels."
        )
    return Recommendation(tuple(steps), tuple(reasons))


def _weights_per_channel(layer: Layer) -> int:
    """Return how many weights an output channel of the layer has."""
    return math.prod(layer.weight_shape) // max(1, layer.weight_shape[layer.channel_axis])
