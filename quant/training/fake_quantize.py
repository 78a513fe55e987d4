"""Fake quantization with learned scale and zero point (white paper, equations 39 to 42)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import FunctionCtx

from quant.training import kernels

PIECE = 512
"""Values of one partial sum: float32 adds so many without losing what matters."""
OPEN = (-float("inf"), float("inf"))


@dataclass(frozen=True, eq=False, slots=True)
class CodeLimits:
    """The whole numbers of an encoding, and the clip before.

    `qmin` and `qmax` are numbers, or tensors that broadcast like the scale. `floor` and `cap` are
    numbers, or tensors (C, 1, 1) with a value per channel. Where `binary` (of the scale's shape)
    holds, values are -scale and +scale, and the gradient at x passes everywhere.
    """

    qmin: int | Tensor
    qmax: int | Tensor
    floor: float | Tensor = OPEN[0]
    cap: float | Tensor = OPEN[1]
    binary: Tensor | None = None

    @property
    def has_open_clip(self) -> bool:
        """Whether values enter the encoding without a clip before."""
        tensors = isinstance(self.floor, Tensor) or isinstance(self.cap, Tensor)
        return not tensors and (self.floor, self.cap) == OPEN


def fake_quantize_learned(
    x: Tensor, scale: Tensor, zero_point: Tensor, limits: CodeLimits
) -> Tensor:
    """Return `x` fake-quantized, of x's shape; gradients reach x, scale and zero point.

    `scale` and `zero_point` (whole numbers) have one shape that broadcasts against x. The value
    equals `Encoding.fake_quantize` of the clipped x, bit for bit. Gradients: 1 for x inside the
    limits and 0 outside (39); round(x/s) - x/s for s inside, qmin - z or qmax - z outside (40); 0
    for z inside, -s outside (42). A clip's gradient is 0 where the clip acts.
    """
    result: Tensor = _FakeQuantize.apply(x, scale, zero_point, limits)  # type: ignore[no-untyped-call]
    return result


def fake_quantize_plain(x: Tensor, scale: Tensor, zero_point: Tensor, limits: CodeLimits) -> Tensor:
    """Return the result of `fake_quantize_learned`, of x's shape, by torch on any device."""
    steps = torch.div(_clip_to_limits(x, limits), scale).round_()
    low, high = limits.qmin - zero_point, limits.qmax - zero_point
    steps = torch.clamp(steps, low, high)
    if limits.binary is not None:
        steps = torch.where(limits.binary, torch.where(x >= 0, 1.0, -1.0).to(steps), steps)
    return steps.mul_(scale)


def _clip_to_limits(x: Tensor, limits: CodeLimits) -> Tensor:
    floor, cap = limits.floor, limits.cap
    if not isinstance(floor, Tensor) and not isinstance(cap, Tensor):
        return x if limits.has_open_clip else x.clamp(floor, cap)
    return x.clamp(torch.as_tensor(floor).to(x), torch.as_tensor(cap).to(x))


class SavingContext(FunctionCtx):
    """The context of an autograd function with saved tensors."""

    saved_tensors: tuple[Tensor, ...]


class _RowsContext(SavingContext):
    """The context of `_FakeQuantize`."""

    limits: CodeLimits
    rows: "_Rows | None"


class _FakeQuantize(torch.autograd.Function):
    """The kernels if the tensors fit, operations of torch otherwise."""

    @staticmethod
    def forward(
        ctx: _RowsContext, x: Tensor, scale: Tensor, zero_point: Tensor, limits: CodeLimits
    ) -> Tensor:
        x, scale, zero_point = x.detach(), scale.detach(), zero_point.detach()
        rows = _Rows.rows_of_tensor(x, scale, limits)
        y = fake_quantize_plain(x, scale, zero_point, limits) if rows is None else None
        if rows is not None:
            y = torch.empty_like(x)
            rows.quantize_into(x, scale, zero_point, y)
        assert y is not None
        ctx.save_for_backward(x, scale, zero_point, y)
        ctx.limits, ctx.rows = limits, rows
        return y

    @staticmethod
    def backward(ctx: _RowsContext, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, zero_point, y = ctx.saved_tensors
        rows = ctx.rows
        gradient = gradients[0]
        if rows is not None:
            if gradient.stride() != x.stride():  # as after a mean, which spreads one value
                gradient = torch.empty_like(x).copy_(gradient)
            pulled = torch.empty_like(x)
            log_scale, outside = rows.pull_gradient(gradient, x, y, scale, zero_point, pulled)
        else:
            found = _pull_by_torch(gradient, x, y, scale, zero_point, ctx.limits)
            pulled, log_scale, outside = found
        return pulled, log_scale / scale, -scale * outside, None


def _pull_by_torch(
    gradient: Tensor, x: Tensor, y: Tensor, scale: Tensor, zero_point: Tensor, limits: CodeLimits
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradients at x (x's shape) and log(scale), and the sum outside (scale's shape)."""
    value = _clip_to_limits(x, limits)
    low = (limits.qmin - zero_point) * scale
    high = (limits.qmax - zero_point) * scale
    inside = ((value >= low) & (value <= high)).to(x.dtype)
    moves = inside
    if not limits.has_open_clip:
        floor, cap = torch.as_tensor(limits.floor).to(x), torch.as_tensor(limits.cap).to(x)
        moves = inside * ((x > floor) & (x < cap))
    part = y - value * inside
    if limits.binary is not None:
        part = torch.where(limits.binary, y, part)
        moves = torch.where(limits.binary, torch.ones_like(moves), moves)
    log_scale = (gradient * part).sum_to_size(scale.shape)
    outside = (gradient * (1 - inside)).sum_to_size(scale.shape)
    return gradient * moves, log_scale, outside


@dataclass(frozen=True, slots=True)
class _Rows:
    """The view of a tensor's memory as rows for the kernels.

    `by_row`: a row has a separate scale. `by_channel`: a value of a row has a separate clip.
    Neither: the memory has one encoding.
    """

    limits: CodeLimits
    by_row: bool
    by_channel: bool

    @classmethod
    def rows_of_tensor(cls, x: Tensor, scale: Tensor, limits: CodeLimits) -> "_Rows | None":
        """Return the view (R, K) of x (float32 in dense memory of the CPU); None if impossible."""
        if (
            limits.binary is not None
            or x.device.type != "cpu"
            or x.dtype != torch.float32
            or not _is_dense_memory(x)
            or not x.numel()
        ):
            return None
        by_channel = isinstance(limits.floor, Tensor) or isinstance(limits.cap, Tensor)
        by_row = scale.dim() > 0
        if by_row and (by_channel or scale.shape != (len(x), *(1,) * (x.dim() - 1))):
            return None
        if by_channel and not (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)):
            return None
        return cls(limits, by_row, by_channel)

    def quantize_into(self, x: Tensor, scale: Tensor, zero_point: Tensor, y: Tensor) -> None:
        """Write x, fake-quantized, to y of x's shape."""
        limits = self._whole_number_limits(scale, zero_point)
        if self.by_channel:
            channels = x.shape[1]
            caps = self._channel_caps(channels)
            step, (low, high) = scale.numpy()[()], limits[0]
            kernels.quantize_channels(
                _memory_as_rows(x, channels),
                np.float32(step),
                (low, high),
                caps,
                _memory_as_rows(y, channels),
            )
            return
        if self.by_row:
            rows = _memory_as_rows(x, x.numel() // len(x)), _memory_as_rows(y, x.numel() // len(x))
            kernels.quantize_rows(
                rows[0], scale.flatten().numpy(), limits, self._common_clip(), rows[1]
            )
            return
        kernels.quantize_rows(
            _memory_as_rows(x, x.numel()),
            scale.reshape(1).numpy(),
            limits,
            self._common_clip(),
            _memory_as_rows(y, x.numel()),
        )

    def pull_gradient(
        self,
        gradient: Tensor,
        x: Tensor,
        y: Tensor,
        scale: Tensor,
        zero_point: Tensor,
        pulled: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Write the gradient at x to `pulled`, x's shape; return gradients of the scale's shape.

        The gradients are the gradient at log(scale), and the sum of `gradient` outside the limits.
        """
        step = scale.flatten().numpy()
        bounds = self._whole_number_limits(scale, zero_point) * step[:, None]
        tensors = gradient, x, y, pulled
        if self.by_channel:
            channels = x.shape[1]
            g, values, found, ends = (_memory_as_rows(one, channels) for one in tensors)
            sums = np.empty((len(values), 2), np.float32)
            caps, ends_of_codes = self._channel_caps(channels), (bounds[0, 0], bounds[0, 1])
            kernels.pull_channel_gradients(g, values, found, ends_of_codes, caps, ends, sums)
            totals = sums.sum(0, dtype=np.float64)[None]
        elif self.by_row:
            g, values, found, ends = (_memory_as_rows(one, x.numel() // len(x)) for one in tensors)
            totals = np.empty((len(values), 2), np.float32)
            kernels.pull_row_gradients(g, values, found, bounds, self._common_clip(), ends, totals)
        else:
            totals = self._pull_flat_rows(tensors, bounds)
        both = torch.from_numpy(totals.astype(np.float32))
        return both[:, 0].reshape(scale.shape), both[:, 1].reshape(scale.shape)

    def _pull_flat_rows(
        self, tensors: tuple[Tensor, ...], bounds: kernels.Floats
    ) -> NDArray[np.float64]:
        flat = [_memory_as_rows(one, one.numel())[0] for one in tensors]
        whole = flat[0].size // PIECE * PIECE
        totals = np.zeros((1, 2), np.float64)
        for span, width in ((slice(0, whole), PIECE), (slice(whole, None), -1)):
            if flat[0][span].size == 0:
                continue
            g, values, found, ends = (
                one[span].reshape(-1, width) if width > 0 else one[span][None] for one in flat
            )
            sums = np.empty((len(values), 2), np.float32)
            rows = np.ascontiguousarray(np.broadcast_to(bounds, (len(values), 2)))
            kernels.pull_row_gradients(g, values, found, rows, self._common_clip(), ends, sums)
            totals += sums.sum(0, dtype=np.float64)
        return totals

    def _whole_number_limits(self, scale: Tensor, zero_point: Tensor) -> kernels.Floats:
        """Return (R, 2): first and last whole number less the zero point, by row."""
        ends = [
            (end - zero_point).to(torch.float32).expand(scale.shape).flatten()
            for end in (self.limits.qmin, self.limits.qmax)
        ]
        return np.ascontiguousarray(torch.stack(ends, 1).numpy())

    def _common_clip(self) -> tuple[np.float32, np.float32]:
        assert not isinstance(self.limits.floor, Tensor)
        assert not isinstance(self.limits.cap, Tensor)
        return np.float32(self.limits.floor), np.float32(self.limits.cap)

    def _channel_caps(self, channels: int) -> kernels.Floats:
        """Return (2, C): floor and cap of the channels."""
        ends = [
            torch.as_tensor(end, dtype=torch.float32).expand(channels, 1, 1).flatten()
            for end in (self.limits.floor, self.limits.cap)
        ]
        return np.ascontiguousarray(torch.stack(ends).numpy())


def _is_dense_memory(x: Tensor) -> bool:
    if x.is_contiguous():
        return True
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _memory_as_rows(x: Tensor, width: int) -> kernels.Floats:
    """Return the dense memory of x in shape (size / width, width), for any order of axes."""
    channels_last = x.dim() == 4 and not x.is_contiguous()
    seen = x.detach().permute(0, 2, 3, 1) if channels_last else x.detach()
    rows: kernels.Floats = seen.reshape(-1, width).numpy()
    return rows
