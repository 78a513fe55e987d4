"""A weight with learned widths of output channels (NMP-QAT), or with fixed widths.

A channel has a precision intensity s in [0, 1]. Thresholds part s into the widths 1, 2, 4 and 8.
Forward is hard: a channel is quantized at the channel's width. Backward, the weight gets the
straight-through gradient, and s the gradient of a soft mixture of the four encodings with sigmoids
of s at the thresholds as gates (papers.md, paper 3).

Our choices where the paper's text is silent: the form of the gates, and scales (the mean of |w| at
one bit, else least squared error, searched for ten times in a training; between two searches a
scale follows the size of the channel's weights).
"""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from quant.channel_widths import CHANNEL_WIDTHS
from quant.encoding import SMALLEST_SCALE, Encoding
from quant.ranges.estimators import encode_weight
from quant.simulation.plan import Site
from quant.spec import Estimator, Granularity, QuantSpec
from quant.training.fake_quantize import SavingContext
from quant.training.learned_encoding import RatedParameter, TrainableQuantizer
from quant.training.settings import NeuronWidthSettings

SEARCHES = 10
"""Scales are searched for anew so many times in a training (our choice)."""


def soft_width_shares(
    intensity: Tensor, thresholds: tuple[float, ...], temperature: float
) -> Tensor:
    """Return the share of each width in the soft mixture: (widths, *intensity.shape), sum 1.

    g_k = sigmoid((s - t_k) / tau), and the shares are 1 - g_1, g_1 - g_2, g_2 - g_3, g_3.
    """
    limits = intensity.new_tensor(thresholds).reshape(-1, *(1,) * intensity.dim())
    above = torch.sigmoid((intensity - limits) / temperature)
    ones, zeros = torch.ones_like(above[:1]), torch.zeros_like(above[:1])
    return torch.cat([ones, above]) - torch.cat([above, zeros])


def hard_widths(intensity: Tensor, thresholds: tuple[float, ...]) -> Tensor:
    """Return widths, int8 of the intensity's shape: 1 below the first threshold, then 2, 4, 8.

    >>> hard_widths(torch.tensor([0.1, 0.5]), (0.25, 0.5, 0.75)).tolist()
    [1, 4]
    """
    limits = intensity.new_tensor(thresholds)
    place = (intensity[..., None] >= limits).sum(-1)
    return torch.tensor(CHANNEL_WIDTHS, dtype=torch.int8, device=intensity.device)[place]


class _MixedContext(SavingContext):
    """The context of `MixedForward`; `shape` is the intensity's."""

    shape: torch.Size


class MixedForward(torch.autograd.Function):
    """The hard encoding forward; backward STE to the weight, the mixture's gradient to s."""

    @staticmethod
    def forward(
        ctx: _MixedContext, weight: Tensor, intensity: Tensor, hard: Tensor, slope: Tensor
    ) -> Tensor:
        """Return `hard`, of the weight's shape (C, ...); `slope` is d mixture / d s by weight."""
        del weight
        ctx.save_for_backward(slope)
        ctx.shape = intensity.shape
        return hard.clone()

    @staticmethod
    def backward(ctx: _MixedContext, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight and intensity, of equal shapes."""
        (slope,) = ctx.saved_tensors
        return gradients[0], (gradients[0] * slope).sum_to_size(ctx.shape), None, None


class NeuronQuantizer(TrainableQuantizer):
    """A weight with learned widths of output channels, or with fixed widths.

    Shapes: the weight (C, ...) with channels along `axis`; intensity, widths and scales broadcast
    against the weight, scales with a further first axis for the widths.
    """

    fixed: Tensor | None
    scales: Tensor
    ratios: Tensor
    searched: Tensor

    def __init__(
        self,
        site: Site,
        weight: Tensor,
        axis: int,
        settings: NeuronWidthSettings,
        *,
        fixed: Encoding | None = None,
        rate_unit: float = 1.0,
    ) -> None:
        super().__init__()
        self.site, self.axis, self.settings, self.rate_unit = site, axis, settings, rate_unit
        self.frozen = fixed is not None
        self._weight = (weight,)  # in a tuple: it is the graph's parameter, not this module's
        shape = [weight.shape[axis] if a == axis else 1 for a in range(weight.dim())]
        self.intensity = nn.Parameter(
            torch.full(shape, settings.start), requires_grad=fixed is None
        )
        self.register_buffer("fixed", None if fixed is None else _widths_of_encoding(fixed, shape))
        self.choices = CHANNEL_WIDTHS if self.fixed is None else _distinct_widths(self.fixed)
        count = len(self.choices)
        self.register_buffer("scales", torch.ones(count, *shape))
        self.register_buffer("ratios", torch.ones(count, *shape))
        self.register_buffer("searched", torch.tensor(-1))
        self.search_channel_scales(0)
        if fixed is not None:  # exactly the encoding of the network, until the first step
            self.scales.copy_(fixed.scale.expand(shape).expand_as(self.scales))
            self.ratios.copy_(self.scales / self._channel_sizes(weight.detach()))

    @property
    def weight_count(self) -> int:
        """The number of weights."""
        return self._weight[0].numel()

    @property
    def channel_widths(self) -> Tensor:
        """The widths of channels, int8, in a shape (C, 1, ..., 1) that broadcasts."""
        if self.fixed is not None:
            return self.fixed
        return hard_widths(self.intensity.detach(), self.settings.thresholds)

    @torch.no_grad()
    def search_channel_scales(self, number: int) -> None:
        """Search the scales of channels at the widths; once for each `number`."""
        if int(self.searched) == number:
            return
        weight = self._weight[0].detach()
        size = self._channel_sizes(weight)
        for place, bits in enumerate(self.choices):
            spec = QuantSpec(bits, granularity=Granularity.PER_CHANNEL, estimator=Estimator.MSE)
            found = encode_weight(weight.cpu(), spec, self.axis).scale.to(size)
            self.ratios[place] = found.reshape(size.shape) / size
        self.searched.fill_(number)
        self.follow_moved_weight()

    @torch.no_grad()
    def follow_moved_weight(self) -> None:
        """Let the scales follow the size of the weights since the last search."""
        self.scales.copy_(self.ratios * self._channel_sizes(self._weight[0].detach()))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weight, of the weight's shape."""
        with torch.no_grad():
            hard = self.encoding().fake_quantize(weight.detach())
        if self.frozen:
            result: Tensor = MixedForward.apply(  # type: ignore[no-untyped-call]
                weight, self.intensity.detach(), hard, torch.zeros_like(hard)
            )
            return result
        learned: Tensor = MixedForward.apply(  # type: ignore[no-untyped-call]
            weight, self.intensity, hard, self._slope_of_mixture(weight.detach())
        )
        return learned

    @torch.no_grad()
    def _slope_of_mixture(self, weight: Tensor) -> Tensor:
        """Return sum_b (d w_b / d s) Q_b(w), of the weight's shape."""
        limits = self.intensity.new_tensor(self.settings.thresholds)
        limits = limits.reshape(-1, *(1,) * self.intensity.dim())
        above = torch.sigmoid((self.intensity - limits) / self.settings.temperature)
        steep = above * (1 - above) / self.settings.temperature
        zeros = torch.zeros_like(steep[:1])
        shares = torch.cat([zeros, steep]) - torch.cat([steep, zeros])
        levels = (
            self.encoding_at_width(place).fake_quantize(weight)
            for place in range(len(CHANNEL_WIDTHS))
        )
        total = torch.zeros_like(weight)
        for share, level in zip(shares, levels, strict=True):
            total += share * level
        return total

    def prepare_step_at(self, share: float) -> None:
        """Let the scales follow the weight for the step at a share (0 to 1) of the steps."""
        self.frozen = self.fixed is not None or share >= self.settings.freeze
        self.search_channel_scales(int(share * SEARCHES))
        self.follow_moved_weight()

    def encoding_at_width(self, place: int) -> Encoding:
        """Return the encoding of the channels at the width number `place`."""
        bits = self.choices[place]
        widths = torch.full_like(self.scales[place], bits, dtype=torch.int8)
        return _encoding_of_widths(self.scales[place], widths)

    @torch.no_grad()
    def encoding(self) -> Encoding:
        """Return the present encoding: a width for each channel."""
        widths = self.channel_widths
        scale = torch.zeros_like(self.scales[0])
        for place, bits in enumerate(self.choices):
            scale = torch.where(widths == bits, self.scales[place], scale)
        return _encoding_of_widths(scale, widths)

    def soft_bits(self) -> Tensor:
        """Return the mean width of the soft mixture over channels, a scalar with a gradient."""
        shares = soft_width_shares(
            self.intensity, self.settings.thresholds, self.settings.temperature
        )
        bits = self.intensity.new_tensor(CHANNEL_WIDTHS).reshape(-1, *(1,) * self.intensity.dim())
        return (shares * bits).sum(0).mean()

    def rated_parameters(self) -> Iterable[RatedParameter]:
        """Yield the intensity if the intensity learns."""
        if self.intensity.requires_grad:
            yield RatedParameter(f"{self.site.name} intensity", self.intensity, self.rate_unit)

    @torch.no_grad()
    def rescale_encoding(self, factor: Tensor) -> None:
        """Multiply the scales by positive factors of shape (C, 1, ..., 1) (equation 43)."""
        self.scales.mul_(factor)

    def _channel_sizes(self, weight: Tensor) -> Tensor:
        """Return root mean squares by channel, shape (C, 1, ..., 1), at least a scale's minimum."""
        others = [axis for axis in range(weight.dim()) if axis != self.axis]
        return weight.square().mean(others, keepdim=True).sqrt().clamp(min=SMALLEST_SCALE)


def _encoding_of_widths(scale: Tensor, widths: Tensor) -> Encoding:
    widest = int(widths.max())
    half = 1 << widest - 1
    low, high = (-1, 1) if widest == 1 else (-half, max(1, half - 1))
    own: Tensor | None = widths.clone()
    if int(widths.min()) == widest:  # as the product has a weight of one width
        own = torch.ones((), dtype=torch.int8, device=widths.device) if widest == 1 else None
    return Encoding(scale.clone(), torch.zeros_like(scale), low, high, own)


def _widths_of_encoding(encoding: Encoding, shape: list[int]) -> Tensor:
    """Return the widths of an encoding's channels, int8 of the given shape."""
    bits = torch.tensor(encoding.bits) if encoding.channel_bits is None else encoding.channel_bits
    return bits.to(torch.int8).expand(shape).clone()


def _distinct_widths(widths: Tensor) -> tuple[int, ...]:
    return tuple(sorted(set(widths.flatten().tolist())))


def neurons_among(
    quantizers: Mapping[str, TrainableQuantizer],
) -> Iterator[NeuronQuantizer]:
    """Yield the weights with separate widths of channels."""
    for one in quantizers.values():
        if isinstance(one, NeuronQuantizer):
            yield one
