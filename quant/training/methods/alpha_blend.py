"""Alpha-blending: weights go from float to quantized in the course of training (papers.md, 2)."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from quant.encoding import Encoding
from quant.graph.float_graph import FloatGraph
from quant.simulation.plan import Site
from quant.training.learned_encoding import RatedParameter, TrainableQuantizer
from quant.training.methods.learned_step import LearnedStep
from quant.training.settings import BlendGradient

ROUNDS = 3
"""Rounds of projection after each step; the scale is near its place from the step before."""


class _BlendContext(FunctionCtx):
    """The context of `_Blend`; `passed` is the factor on the gradient."""

    passed: float


class _Blend(torch.autograd.Function):
    """(1 - alpha) w + alpha q with the gradient of the blend times `passed`."""

    @staticmethod
    def forward(
        ctx: _BlendContext, weight: Tensor, projected: Tensor, alpha: float, passed: float
    ) -> Tensor:
        """Return the blend, of the weight's shape; at the ends exactly weight or projection."""
        ctx.passed = passed
        if alpha == 0.0:
            return weight.clone()
        return projected if alpha == 1.0 else (1 - alpha) * weight + alpha * projected

    @staticmethod
    def backward(ctx: _BlendContext, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return (1 - alpha) times the gradient, of the weight's shape, or the whole gradient."""
        return gradients[0] * ctx.passed, None, None, None


def project_weight(weight: Tensor, start: Encoding, rounds: int = ROUNDS) -> Encoding:
    """Return the symmetric encoding nearest to a weight of shape (O, I, ...), coded as `start`.

    Alternating projection of || w - s q ||^2: q = the nearest whole numbers, s = <w, q> / <q, q>
    over the values with a common s. With one bit s = mean |w|. A reconstruction: the paper names a
    projection and does not print the projection (papers.md, 2.3).
    """
    scale = start.scale
    for _ in range(rounds):
        encoding = Encoding(scale, start.zero_point, start.qmin, start.qmax, start.channel_bits)
        codes = encoding.quantize(weight)
        above = (weight * codes).sum_to_size(scale.shape)
        below = codes.square().sum_to_size(scale.shape)
        found = above / below.clamp(min=1.0)
        # a channel whose numbers are all zero keeps its scale
        scale = torch.where((below > 0) & (found > 0), found, scale)
    return Encoding(scale, start.zero_point, start.qmin, start.qmax, start.channel_bits)


class BlendQuantizer(TrainableQuantizer):
    """Blends a weight with a projection; `alpha` is 0 for float, 1 for quantized."""

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
        """Return the present encoding of the projection."""
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
        """Multiply the scale by positive factors of the scale's shape."""
        self.scale.mul_(factor)


class AlphaBlend(LearnedStep):
    """Weights blend into encodings; activations have learned encodings from the start.

    After the schedule's end weights are frozen as quantized; biases and norms learn further.
    Watched images always see hard weights, alpha = 1.
    """

    alpha = 0.0

    def make_weight_quantizer(
        self, graph: FloatGraph, site: Site, start: Encoding, weight: Tensor
    ) -> TrainableQuantizer:
        """Return the blend of a weight, shape (O, I, ...), with the projection."""
        del graph
        return BlendQuantizer(site, start, weight, self.settings.blend.gradient)

    def prepare_step(self, quantizers: Mapping[str, TrainableQuantizer], share: float) -> None:
        """Set alpha for the step at a share (0 to 1) of the steps."""
        self.alpha = self.settings.blend.alpha_at_share(share)
        _set_alpha_everywhere(quantizers, self.alpha)

    def prepare_look(self, quantizers: Mapping[str, TrainableQuantizer]) -> None:
        """Set alpha to 1: the network looked at is the network kept."""
        _set_alpha_everywhere(quantizers, 1.0)

    def finish_step(self, quantizers: Mapping[str, TrainableQuantizer], share: float) -> None:
        """Project the weights anew, unless frozen."""
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
