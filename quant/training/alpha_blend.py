"""Alpha-blending: weights go from float to their grid in the course of training (papers.md, 2)."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from quant.encoding import Encoding
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Site
from quant.training.learned_encoding import RatedParameter, TrainableQuantizer
from quant.training.method import LearnedStep
from quant.training.settings import BlendGradient

ROUNDS = 3
"""Rounds of projection after each step; the scale is near its place from the step before."""


class _Blend(torch.autograd.Function):
    """(1 - alpha) w + alpha q with the gradient `passed` times that of the blend."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, projected: Tensor, alpha: float, passed: float) -> Tensor:
        """Return the blend; at its ends exactly the weight, or exactly its projection."""
        ctx.passed = passed
        if alpha == 0.0:
            return weight.clone()
        return projected if alpha == 1.0 else (1 - alpha) * weight + alpha * projected

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return (1 - alpha) times the gradient, or all of it."""
        return gradients[0] * ctx.passed, None, None, None


def project_weight(weight: Tensor, start: Encoding, rounds: int = ROUNDS) -> Encoding:
    """Return the symmetric grid of `start` with the scale that lies nearest to the weight.

    Alternating projection of || w - s q ||^2: q = the nearest whole numbers, s = <w, q> / <q, q>
    over the values that share s. With one bit it is s = mean |w|. A reconstruction: the paper names
    its projection and does not print it (papers.md, 2.3).
    """
    scale = start.scale
    for _ in range(rounds):
        grid = Encoding(scale, start.zero_point, start.qmin, start.qmax, start.channel_bits)
        codes = grid.quantize(weight)
        above = (weight * codes).sum_to_size(scale.shape)
        below = codes.square().sum_to_size(scale.shape)
        found = above / below.clamp(min=1.0)
        # a channel whose numbers are all zero keeps its scale
        scale = torch.where((below > 0) & (found > 0), found, scale)
    return Encoding(scale, start.zero_point, start.qmin, start.qmax, start.channel_bits)


class BlendQuantizer(TrainableQuantizer):
    """Blends a weight with its projection; `alpha` is 0 for float, 1 for the grid."""

    scale: Tensor

    def __init__(
        self, site: Site, start: Encoding, weight: Tensor, gradient: BlendGradient
    ) -> None:
        super().__init__()
        self.site = site
        self.start = start
        self.gradient = gradient
        self.alpha = 1.0
        self._weight = (weight,)  # in a tuple, or it would be a parameter of this module too
        self.register_buffer(
            "scale", project_weight(weight.detach(), start, 10 * ROUNDS).scale.clone()
        )

    def forward(self, weight: Tensor) -> Tensor:
        """Return the blended weight, of the weight's shape."""
        with torch.no_grad():
            projected = self.encoding().fake_quantize(weight.detach())
        passed = 1.0 if self.gradient is BlendGradient.STRAIGHT else 1.0 - self.alpha
        result: Tensor = _Blend.apply(weight, projected, self.alpha, passed)  # type: ignore[no-untyped-call]
        return result

    def encoding(self) -> Encoding:
        """Return the projection's grid as it stands."""
        one, device = self.start, self.scale.device
        bits = None if one.channel_bits is None else one.channel_bits.to(device)
        return Encoding(self.scale.clone(), one.zero_point.to(device), one.qmin, one.qmax, bits)

    @torch.no_grad()
    def follow_moved_weight(self) -> None:
        """Project anew after the weight has moved."""
        self.scale.copy_(project_weight(self._weight[0], self.encoding()).scale)

    def rated_parameters(self) -> Iterable[RatedParameter]:
        """Yield nothing: the scale follows the weight."""
        return ()

    @torch.no_grad()
    def rescale_encoding(self, factor: Tensor) -> None:
        """Multiply the scale by positive factors."""
        self.scale.mul_(factor)


class AlphaBlend(LearnedStep):
    """Weights blend into their grids; activations are on learned grids from the start.

    After the schedule's end weights are frozen on their grids, biases and norms go on to learn.
    Watched images are always looked at with hard weights, alpha = 1.
    """

    alpha = 0.0

    def make_weight_quantizer(
        self, graph: FloatGraph, site: Site, start: Encoding, weight: Tensor
    ) -> TrainableQuantizer:
        """Return the blend of a weight with its projection."""
        del graph
        return BlendQuantizer(site, start, weight, self.settings.blend.gradient)

    def prepare_step(self, quantizers: Mapping[str, TrainableQuantizer], share: float) -> None:
        """Set alpha for the step at a share of all steps."""
        self.alpha = self.settings.blend.alpha_at_share(share)
        _set_alpha_everywhere(quantizers, self.alpha)

    def prepare_look(self, quantizers: Mapping[str, TrainableQuantizer]) -> None:
        """Set alpha to 1: what is looked at is what is kept."""
        _set_alpha_everywhere(quantizers, 1.0)

    def finish_step(self, quantizers: Mapping[str, TrainableQuantizer], share: float) -> None:
        """Project the weights anew, unless they are frozen."""
        blend = self.settings.blend
        if blend.alpha_at_share(share) >= 1.0 and blend.gradient is BlendGradient.BLEND:
            return
        for quantizer in quantizers.values():
            if isinstance(quantizer, BlendQuantizer):
                quantizer.follow_moved_weight()

    def curve_measures(self, quantizers: Mapping[str, TrainableQuantizer]) -> dict[str, float]:
        """Return alpha of the last step."""
        return {**super().curve_measures(quantizers), "alpha": self.alpha}


def _set_alpha_everywhere(quantizers: Mapping[str, TrainableQuantizer], alpha: float) -> None:
    for quantizer in quantizers.values():
        if isinstance(quantizer, BlendQuantizer):
            quantizer.alpha = alpha
