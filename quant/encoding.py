"""A calibrated encoding: the only place where numbers are rounded."""

from dataclasses import dataclass

import torch
from torch import Tensor

from quant.errors import CalibrationError
from quant.spec import QuantSpec, ScaleKind

# Below this a scale is no normal float32 any more and dividing by it overflows.
SMALLEST_SCALE = 2.0**-120


@dataclass(frozen=True, eq=False, slots=True)  # tensors have no single truth value
class Encoding:
    """An encoding: real = scale * (q - zero_point), q whole and in [qmin, qmax].

    `scale` and `zero_point` are float32 of a shape that broadcasts against the tensor: () for
    per-tensor, (C, 1, ..., 1) for per-channel, (C, I, 1, ..., 1) for per-group with a repeated
    value for the input channels of a group. `zero_point` holds whole numbers.

    For channels with different widths, `channel_bits` holds the widths as whole numbers, in a shape
    that broadcasts like the scale; `qmin` and `qmax` are the limits of the widest channel. A
    channel of one bit has the codes -1 and 1 and lacks zero, the only exception to "zero is exact".
    The zero points of encodings with widths of channels are 0.
    """

    scale: Tensor
    zero_point: Tensor
    qmin: int
    qmax: int
    channel_bits: Tensor | None = None

    @property
    def bits(self) -> int:
        """Bits of a code; of the widest channel if channels differ."""
        if self.channel_bits is not None:
            return int(self.channel_bits.max())
        return (self.qmax - self.qmin).bit_length()

    def code_limits(self) -> tuple[Tensor, Tensor]:
        """Return the least and greatest code: shape (), or the scale's where channels differ."""
        if self.channel_bits is None:
            least, greatest = self.scale.new_tensor([self.qmin, self.qmax])
            return least, greatest
        half = torch.exp2(self.channel_bits.to(self.scale.dtype) - 1)
        binary = self.channel_bits == 1
        return torch.where(binary, -1.0, -half), torch.where(binary, 1.0, half - 1)

    @property
    def low(self) -> Tensor:
        """Smallest real number of the encoding, of the scale's shape."""
        return (self.code_limits()[0] - self.zero_point) * self.scale

    @property
    def high(self) -> Tensor:
        """Largest real number of the encoding, of the scale's shape."""
        return (self.code_limits()[1] - self.zero_point) * self.scale

    def quantize(self, x: Tensor) -> Tensor:
        """Return whole numbers as float, of x's shape; bit-exact with ONNX QuantizeLinear.

        One bit: the sign, 1 for zero.

        >>> Encoding(torch.tensor(0.5), torch.tensor(0.0), -8, 7).quantize(torch.tensor([1.3, 9.0]))
        tensor([3., 7.])
        """
        # Divide, round half to even, then shift: the order ONNX prescribes.
        codes = (x / self.scale).round_().add_(self.zero_point).clamp_(self.qmin, self.qmax)
        if self.channel_bits is None:
            return codes
        low, high = self.code_limits()
        inside = torch.clamp(codes, low, high)
        signs = torch.where(x >= 0, 1.0, -1.0).to(codes.dtype)
        return torch.where(self.channel_bits == 1, signs, inside)

    def dequantize(self, q: Tensor) -> Tensor:
        """Return the real numbers for the whole numbers `q`, of q's shape.

        >>> Encoding(torch.tensor(0.5), torch.tensor(0.0), -8, 7).dequantize(
        ...     torch.tensor([3.0, 7.0])
        ... )
        tensor([1.5000, 3.5000])
        """
        return (q - self.zero_point) * self.scale

    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return `dequantize(quantize(x))`, of x's shape, in fewer passes over memory.

        Whole numbers below 2**24 are exact in float32, so the zero point may move from the values
        to the limits. Gradients pass straight through inside the limits and stop outside. At one
        bit gradients pass everywhere, since values beyond the scale would be stuck.
        """
        if torch.is_grad_enabled() and x.requires_grad:
            inside = x.clamp(self.low, self.high)
            if self.channel_bits is not None:
                inside = torch.where(self.channel_bits == 1, x, inside)
            return inside + (self._round_trip_values(x.detach()) - inside).detach()
        return self._round_trip_values(x)

    def _round_trip_values(self, x: Tensor) -> Tensor:
        if self.channel_bits is not None:
            return self.dequantize(self.quantize(x))
        steps = torch.div(x, self.scale).round_()
        if self.scale.dim() == 0:  # plain numbers take the fast kernel
            zero_point = int(self.zero_point)
            steps.clamp_(self.qmin - zero_point, self.qmax - zero_point)
        else:
            steps.clamp_(self.qmin - self.zero_point, self.qmax - self.zero_point)
        return steps.mul_(self.scale)


def integer_limits(spec: QuantSpec, low: Tensor) -> tuple[int, int]:
    """Return (qmin, qmax): unsigned if asymmetric, or symmetric and never below zero (8b, 8c).

    `low` is the lower end of the range, of any shape.
    """
    if spec.bits == 1:
        return -1, 1
    half = 1 << spec.bits - 1
    if spec.narrow:
        return 1 - half, half - 1
    if spec.symmetric and bool((low < 0).any()):
        return -half, half - 1
    return 0, spec.levels - 1


def encode_range(low: Tensor, high: Tensor, spec: QuantSpec) -> Encoding:
    """Return the encoding of the range [low, high] (white paper, section 2.2).

    `low` and `high` have one shape, the shape of the scale. The range is widened to hold zero, so
    zero is exact. Symmetric: the scale covers max(-low / -qmin, high / qmax). One bit: the scale is
    the farther end.

    Raises:
        CalibrationError: a limit is not finite or the limits are the wrong way round.

    Example:
        >>> encoding = encode_range(torch.tensor(0.0), torch.tensor(25.5), QuantSpec(8))
        >>> float(encoding.high), encoding.qmax
        (25.5, 255)
    """
    if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
        raise CalibrationError(
            "A range must be finite; got NaN or infinity. "
            "Look for a layer of the float network that overflows on this data."
        )
    if bool((low > high).any()):
        raise CalibrationError("A range's low end must not exceed its high end.")
    low = low.double().clamp(max=0.0)
    high = high.double().clamp(min=0.0)
    qmin, qmax = integer_limits(spec, low)
    if spec.symmetric:
        scale = high / qmax
        if qmin < 0:
            scale = torch.maximum(scale, low / qmin)
    else:
        scale = (high - low) / (qmax - qmin)
    scale = _round_scale_up(scale, spec)
    if spec.symmetric:
        zero_point = torch.zeros_like(scale)
    else:
        zero_point = (qmin - low / scale.double()).round().clamp(qmin, qmax).float()
    binary = torch.ones((), dtype=torch.int8) if spec.bits == 1 else None
    return Encoding(scale, zero_point, qmin, qmax, binary)


def _round_scale_up(scale: Tensor, spec: QuantSpec) -> Tensor:
    """Return the scale as float32 of equal shape: at least normal, a power of two if asked."""
    # A constant-zero channel has no range; any scale represents it.
    scale = torch.where(scale < SMALLEST_SCALE, torch.ones_like(scale), scale)
    if spec.scale is ScaleKind.POWER_OF_TWO:
        # rounding up never clips what a free scale would have held
        scale = torch.exp2(torch.ceil(torch.log2(scale) - 1e-9))
    return scale.float()
