"""An encoding with parameters as scale and zero point, and a quantizer for training."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quant.encoding import Encoding
from quant.simulation.plan import Site
from quant.training.fake_quantize import CodeLimits, fake_quantize_learned

ZERO_POINT_SHARE = 8
"""A zero point moves by rate x levels / 8 a step (our choice)."""


@dataclass(frozen=True, eq=False, slots=True)
class RatedParameter:
    """A parameter, and the size by which the relative rate is multiplied."""

    name: str
    parameter: nn.Parameter
    unit: float


class RoundThrough(torch.autograd.Function):
    """Round half to even; the gradient passes as without rounding."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        """Return whole numbers of x's shape."""
        del ctx
        return x.round()

    @staticmethod
    def backward(ctx: object, *gradients: object) -> object:
        """Return the gradient unchanged."""
        del ctx
        return gradients[0]


class LearnedEncoding(nn.Module):
    """An encoding with scale = start * exp(log_ratio) and zero point = round(start + shift).

    The scale is positive by construction, and exactly the starting scale until the first step.
    Sites with a common encoding share the module.
    """

    start_scale: Tensor
    start_zero_point: Tensor
    channel_bits: Tensor | None
    least: Tensor | None
    greatest: Tensor | None
    binary: Tensor | None

    def __init__(
        self, start: Encoding, *, learn_scale: bool = True, learn_zero_point: bool = True
    ) -> None:
        super().__init__()
        self.qmin, self.qmax = start.qmin, start.qmax
        self.register_buffer("start_scale", start.scale.detach().clone())
        self.register_buffer("start_zero_point", start.zero_point.detach().clone())
        self._store_channel_limits(start)
        self.log_ratio = nn.Parameter(torch.zeros_like(start.scale), requires_grad=learn_scale)
        self.shift = nn.Parameter(
            torch.zeros_like(start.zero_point), requires_grad=learn_scale and learn_zero_point
        )

    def _store_channel_limits(self, start: Encoding) -> None:
        """Store the limits of channels if channels have separate widths."""
        bits = start.channel_bits
        least, greatest = (None, None) if bits is None else start.code_limits()
        binary = None if bits is None or not bool((bits == 1).any()) else bits == 1
        self.register_buffer("channel_bits", bits, persistent=False)
        self.register_buffer("least", least, persistent=False)
        self.register_buffer("greatest", greatest, persistent=False)
        self.register_buffer("binary", binary, persistent=False)

    @property
    def code_limits(self) -> tuple[int | Tensor, int | Tensor]:
        """The least and greatest whole number; tensors of the scale's shape if channels differ."""
        if self.least is None or self.greatest is None:
            return self.qmin, self.qmax
        return self.least, self.greatest

    @property
    def scale(self) -> Tensor:
        """The scale, float32 of the starting scale's shape; gradients flow through."""
        return self.start_scale * self.log_ratio.exp()

    @property
    def zero_point(self) -> Tensor:
        """The zero point, whole numbers inside the limits, of the scale's shape."""
        if not self.shift.requires_grad:
            return self.start_zero_point + self.shift.detach()
        real = (self.start_zero_point + self.shift).clamp(self.qmin, self.qmax)
        result: Tensor = RoundThrough.apply(real)  # type: ignore[no-untyped-call]
        return result

    @torch.no_grad()
    def encoding(self) -> Encoding:
        """Return the present encoding; later steps do not change the value."""
        zero_point = (self.start_zero_point + self.shift).clamp(self.qmin, self.qmax).round()
        scale = self.scale.clone()
        return Encoding(scale, zero_point, self.qmin, self.qmax, self.channel_bits)

    @torch.no_grad()
    def rescale_encoding(self, factor: Tensor) -> None:
        """Multiply the scale by positive factors of the scale's shape (equation 43)."""
        self.start_scale.mul_(factor)

    def rated_parameters(self, prefix: str) -> Iterable[RatedParameter]:
        """Yield the scale's logarithm, learning by rate, and the zero point, by levels."""
        if self.log_ratio.requires_grad:
            yield RatedParameter(f"the scale of {prefix}", self.log_ratio, 1.0)
        if self.shift.requires_grad:
            levels = float(self.qmax - self.qmin + 1)
            yield RatedParameter(
                f"the zero point of {prefix}", self.shift, levels / ZERO_POINT_SHARE
            )


class TrainableQuantizer(nn.Module):
    """Stands at a site in place of a `Quantizer` while a network trains.

    Methods of training derive from the class: `forward` maps a tensor to a tensor of equal shape,
    `encoding` returns the encoding of the values, `rated_parameters` lists the parameters, `site`
    is the place.
    """

    site: Site

    def encoding(self) -> Encoding:
        """Return the present encoding."""
        raise NotImplementedError

    def rated_parameters(self) -> Iterable[RatedParameter]:
        """Yield the quantizer's parameters."""
        raise NotImplementedError

    def rescale_encoding(self, factor: Tensor) -> None:
        """Multiply a weight's encoding by positive factors that broadcast, shape (O, 1, 1, 1).

        The weight is multiplied by the factors too: a batch norm is folded (equation 43).
        """
        raise NotImplementedError


class LearnedQuantizer(TrainableQuantizer):
    """Quantizes values with a learned encoding, after the clip of the replaced quantizer.

    `learned` may belong to another site. `clip` is (floor, cap), None without a limit; `caps` are
    tensors (C, 1, 1) instead, as equalization leaves clips.
    """

    floors: Tensor | None
    caps: Tensor | None

    def __init__(
        self,
        site: Site,
        learned: LearnedEncoding,
        clip: tuple[float | None, float | None] | None = None,
        caps: tuple[Tensor | None, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.site = site
        self.learned = learned
        floor, cap = (clip or (None, None)) if caps is None else caps
        self.floor, self.cap = _plain_limit(floor, -float("inf")), _plain_limit(cap, float("inf"))
        self.register_buffer(
            "floors", floor if isinstance(floor, Tensor) else None, persistent=False
        )
        self.register_buffer("caps", cap if isinstance(cap, Tensor) else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor to a quantized tensor of equal shape."""
        limits = CodeLimits(
            *self.learned.code_limits,
            self.floor if self.floors is None else self.floors,
            self.cap if self.caps is None else self.caps,
            self.learned.binary,
        )
        return fake_quantize_learned(x, self.learned.scale, self.learned.zero_point, limits)

    def encoding(self) -> Encoding:
        """Return the present encoding."""
        return self.learned.encoding()

    def rated_parameters(self) -> Iterable[RatedParameter]:
        """Yield scale and zero point; a shared encoding is yielded for every site."""
        yield from self.learned.rated_parameters(self.site.name)

    def rescale_encoding(self, factor: Tensor) -> None:
        """Multiply the scale by positive factors of the scale's shape."""
        self.learned.rescale_encoding(factor)


def _plain_limit(value: float | Tensor | None, default: float) -> float:
    """Return a plain limit, a scalar; the default for None or a tensor."""
    return default if value is None or isinstance(value, Tensor) else value
