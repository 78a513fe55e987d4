"""Quantizers of a block that learns: rounding as a variable, and activations dropped at random."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from quant.encoding import Encoding
from quant.graph.float_graph import FloatGraph
from quant.passes.adaround import GAMMA, ZETA, rectified_sigmoid
from quant.simulation.plan import Site
from quant.spec import Granularity, ScaleKind
from quant.training.learned_encoding import (
    LearnedEncoding,
    LearnedQuantizer,
    RatedParameter,
    TrainableQuantizer,
)
from quant.training.methods.learned_step import LearnedStep
from quant.training.settings import TrainingSettings

DROP_SHARE = 0.5
"""QDrop's probability that a value stays float while a block learns."""


class SoftRounding(TrainableQuantizer):
    """A weight's quantizer with AdaRound's variable: W~ = s clamp(floor(W/s) + h(V), qmin, qmax).

    The scale s of the whole numbers may learn with V; floor(W/s) belongs to the scale at the start.
    While `soft`, h(V) lies between 0 and 1; otherwise a weight is rounded up where V >= 0. At the
    start h(V) is the distance of W/s from the whole number below, on the side of 1/2 to which the
    present weight was rounded: by nearest rounding, or by an earlier AdaRound.
    """

    floor: Tensor
    signs: Tensor

    def __init__(
        self, site: Site, encoding: Encoding, weight: Tensor, present: Tensor, *, learns: bool
    ) -> None:
        super().__init__()
        self.site, self.soft, self._encoding = site, False, encoding
        self.learned = LearnedEncoding(encoding, learn_scale=learns, learn_zero_point=False)
        ratio = weight.detach() / encoding.scale
        self.register_buffer("floor", torch.floor(ratio), persistent=False)
        signs = torch.where(weight.detach() >= 0, 1.0, -1.0)
        self.register_buffer("signs", signs, persistent=False)
        decided = encoding.quantize(present.detach()) - encoding.zero_point - self.floor
        rest = (ratio - self.floor).clamp(0.01, 0.99)
        rest = torch.where(decided > 0.5, rest.clamp(min=0.501), rest.clamp(max=0.499))
        self.variable = nn.Parameter(-torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1))

    @property
    def up(self) -> Tensor:
        """The share by which weights are rounded up, 0 to 1, of the weight's shape."""
        return rectified_sigmoid(self.variable) if self.soft else (self.variable >= 0).float()

    def forward(self, x: Tensor) -> Tensor:
        """Return W~, of the weight's shape; the float weight `x` is not read again."""
        del x
        low, high = self._encoding.code_limits()
        inside = torch.clamp(self.floor + self.up + self._encoding.zero_point, low, high)
        if self._encoding.channel_bits is not None:  # one bit has nothing between its two codes
            inside = torch.where(self._encoding.channel_bits == 1, self.signs, inside)
        return (inside - self._encoding.zero_point) * self.learned.scale

    @torch.no_grad()
    def rounded_weight(self) -> Tensor:
        """Return the decided weight, of the weight's shape."""
        soft, self.soft = self.soft, False
        result = self.forward(self.floor)
        self.soft = soft
        return result

    def encoding(self) -> Encoding:
        """Return the present encoding."""
        return self.learned.encoding()

    def rated_parameters(self) -> Iterable[RatedParameter]:
        """Yield V, and the logarithm of the scale."""
        yield RatedParameter(f"the rounding of {self.site.layer}", self.variable, 1.0)
        yield from self.learned.rated_parameters(self.site.name)


class DroppedQuantizer(LearnedQuantizer):
    """An activation's quantizer that leaves channels float at random while `chance` is set.

    QDrop (Wei et al. 2022) draws for each value; a draw here is for a channel of a sample (our
    choice): drawing for each value costs as much as a small convolution.
    """

    chance: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor to a quantized tensor of equal shape; dropped channels are only clipped."""
        y = super().forward(x)
        if self.chance is None:
            return y
        return torch.where(draw_mask(x, self.chance), self._clip_values(x), y)

    def _clip_values(self, x: Tensor) -> Tensor:
        if self.floors is not None or self.caps is not None:
            floor = torch.as_tensor(self.floor) if self.floors is None else self.floors
            cap = torch.as_tensor(self.cap) if self.caps is None else self.caps
            return torch.clamp(x, floor.to(x), cap.to(x))
        open_ends = math.isinf(self.floor) and math.isinf(self.cap)
        return x if open_ends else x.clamp(self.floor, self.cap)


def draw_mask(x: Tensor, chance: torch.Generator) -> Tensor:
    """Return a mask for values of shape (N, C, ...), true with probability 1/2 by channel."""
    shape = tuple(x.shape[:2])
    drawn = torch.rand(shape, generator=chance) < DROP_SHARE
    return drawn.reshape(*shape, *(1,) * (x.dim() - len(shape)))


def learns_scale(site: Site) -> bool:
    """Tell whether the scale of a site may be any number of its own.

    Powers of two, the common scale of a group, and ranges given by an operation stay.
    """
    grouped = site.spec.granularity is Granularity.PER_GROUP
    return site.spec.scale is not ScaleKind.POWER_OF_TWO and not grouped and site.limits is None


class BlockMethod(LearnedStep):
    """Soft rounding for weights, and fixed encodings with random drop for activations.

    `weights` holds the float weights by layer; `weight_scales` says that the scales of weights
    learn too.
    """

    def __init__(self, weights: Mapping[str, Tensor], *, weight_scales: bool = False) -> None:
        super().__init__(TrainingSettings(learn_scales=False))
        self.weights, self.weight_scales = weights, weight_scales

    def make_weight_quantizer(
        self, graph: FloatGraph, site: Site, start: Encoding, weight: Tensor
    ) -> TrainableQuantizer:
        """Return soft rounding; `weight` is the present weight, shape (O, I, ...)."""
        del graph
        learns = self.weight_scales and learns_scale(site)
        return SoftRounding(site, start, self.weights[site.layer], weight, learns=learns)

    def make_activation_quantizer(
        self,
        graph: FloatGraph,
        site: Site,
        encoding: LearnedEncoding,
        clip: tuple[float | None, float | None] | None,
        caps: tuple[Tensor | None, Tensor] | None,
    ) -> TrainableQuantizer:
        """Return a quantizer with drop; `caps` have shape (C, 1, 1)."""
        del graph
        return DroppedQuantizer(site, encoding, clip, caps)
