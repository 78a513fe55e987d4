"""Statistics of a stream of values: bounded in memory, and merged without loss."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from quant.errors import CalibrationError

# Bins on either side of zero. The largest value always falls in the outer half, so at least
# 4096 bins lie between zero and it: sixteen for every step of an 8-bit encoding.
SIDE = 8192
LOGIT_ROWS = 512
# Values that are counted at a time: they and their bins lie in the cache.
PIECE = 2**18


@dataclass(eq=False)
class ChannelStatistics:
    """Limits, mean and spread of the channels of a stream: five numbers a channel.

    `low`, `high` (C,) are exact; `total` and `squares` (C,), float64, are the sums of values and of
    squares; `count` is the number of values in a channel. Channels are counted along axis 1 of (N,
    C, H, W), else along the last axis.
    """

    count: int = 0
    low: Tensor = field(default_factory=lambda: torch.zeros(0))
    high: Tensor = field(default_factory=lambda: torch.zeros(0))
    total: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    squares: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    @torch.no_grad()
    def collect(self, x: Tensor) -> None:
        """Take in a tensor of shape (N, C, H, W) or (..., C) with at least one value."""
        x = x.detach().float()
        # a view where memory lies so, as in channels-last networks
        rows = x.movedim(1, -1) if x.dim() == 4 else x.reshape(-1, x.shape[-1])
        axes = tuple(range(rows.dim() - 1))
        self._take_stream(
            ChannelStatistics(
                rows.numel() // rows.shape[-1],
                rows.amin(axes),
                rows.amax(axes),
                rows.sum(axes).double(),
                torch.linalg.vector_norm(rows, dim=axes).double().square(),
            )
        )

    def merge(self, other: "ChannelStatistics") -> "ChannelStatistics":
        """Return the statistics of two streams; the operands stay unchanged."""
        result = ChannelStatistics(self.count, self.low, self.high, self.total, self.squares)
        result._take_stream(other)
        return result

    @property
    def mean(self) -> Tensor:
        """The mean of each channel, (C,)."""
        return self.total / max(self.count, 1)

    @property
    def std(self) -> Tensor:
        """The standard deviation of each channel, (C,)."""
        return (self.squares / max(self.count, 1) - self.mean.square()).clamp(min=0).sqrt()

    def _take_stream(self, other: "ChannelStatistics") -> None:
        if other.count == 0:
            return
        if self.count == 0:
            self.low, self.high = other.low, other.high
            self.total, self.squares = other.total, other.squares
        else:
            self.low = torch.minimum(self.low, other.low)
            self.high = torch.maximum(self.high, other.high)
            self.total = self.total + other.total
            self.squares = self.squares + other.squares
        self.count += other.count


@dataclass(eq=False)
class Statistics:
    """A histogram with power-of-two bins anchored at zero, exact limits, and the count of zeros.

    Bin k holds the values in [(k - SIDE) 2**exponent, (k - SIDE + 1) 2**exponent). For a larger
    value pairs of bins merge and the exponent grows, so the counts are equal after any order of
    batches and merges. `rows` keeps the first rows of a network's output, `row_length` logits a
    row, for the cross-entropy estimator; at other sites `row_length` is 0 and `rows` stays empty.
    `channels`, if given, follows the channels.
    """

    row_length: int = 0
    count: int = 0
    zeros: int = 0
    low: float = math.inf
    high: float = -math.inf
    exponent: int = -126
    counts: Tensor = field(default_factory=lambda: torch.zeros(2 * SIDE, dtype=torch.int64))
    rows: Tensor | None = None
    channels: ChannelStatistics | None = None

    @torch.no_grad()
    def collect(self, x: Tensor) -> None:
        """Take in a tensor of any shape.

        Raises:
            CalibrationError: a value is NaN or infinite.
        """
        flat = _flatten_values(x)
        if flat.numel() == 0:
            return
        low, high = (float(limit) for limit in torch.aminmax(flat))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise CalibrationError(
                "Activations must be finite; got NaN or infinity while calibrating. "
                "Check the preprocessing and the float network's output on these inputs."
            )
        self._coarsen_bins(_exponent_for_magnitude(max(-low, high)))
        for piece in flat.split(PIECE):
            bins = (piece * 2.0**-self.exponent).floor_().add_(SIDE).int()
            # no "+=": counts made in inference mode may not be changed in place outside it
            self.counts = self.counts + torch.bincount(bins, minlength=2 * SIDE)
        self.count += flat.numel()
        self.zeros += flat.numel() - int(torch.count_nonzero(flat))
        self.low, self.high = min(self.low, low), max(self.high, high)
        if self.row_length:
            self._keep_rows(x.detach())
        if self.channels is not None and x.dim() > 0:
            self.channels.collect(x)

    def merge(self, other: "Statistics") -> "Statistics":
        """Return the statistics of two streams; the operands stay unchanged."""
        exponent = max(self.exponent, other.exponent)
        result = Statistics(
            row_length=self.row_length,
            count=self.count + other.count,
            zeros=self.zeros + other.zeros,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            exponent=exponent,
            counts=_coarsen_counts(self.counts, exponent - self.exponent)
            + _coarsen_counts(other.counts, exponent - other.exponent),
            rows=self.rows,
            channels=_merge_channels(self.channels, other.channels),
        )
        if other.rows is not None:
            result._keep_rows(other.rows)
        return result

    @property
    def edges(self) -> Tensor:
        """The limits of the bins, shape (2 * SIDE + 1,), float64."""
        return torch.arange(-SIDE, SIDE + 1, dtype=torch.float64) * 2.0**self.exponent

    def used_bins(self) -> tuple[Tensor, Tensor]:
        """Return (counts, edges) from the first filled bin to the last, edges cut to the limits.

        Exact zeros are not counted: zero is exact in every encoding.
        """
        counts = self.counts.clone()
        counts[SIDE] -= self.zeros
        filled = torch.nonzero(self.counts).flatten()
        if len(filled) == 0:
            raise CalibrationError("Statistics must hold values; none were collected.")
        first, last = int(filled[0]), int(filled[-1])
        edges = self.edges[first : last + 2].clamp(self.low, self.high)
        return counts[first : last + 1], edges

    def quantile(self, share: float) -> float:
        """Return the value with a share `share` of the values below, exact to one bin."""
        counts, edges = self.counts.double(), self.edges
        cumulative = counts.cumsum(0)
        target = share * self.count
        index = min(int(torch.searchsorted(cumulative, target)), 2 * SIDE - 1)
        inside = float(counts[index])
        below = float(cumulative[index]) - inside
        part = (target - below) / inside if inside else 0.0
        value = float(edges[index]) + part * 2.0**self.exponent
        return min(max(value, self.low), self.high)

    def _keep_rows(self, rows: Tensor) -> None:
        old = [] if self.rows is None else [self.rows]
        self.rows = torch.cat([*old, rows.reshape(-1, self.row_length)])[:LOGIT_ROWS]

    def _coarsen_bins(self, exponent: int) -> None:
        if exponent > self.exponent:
            self.counts = _coarsen_counts(self.counts, exponent - self.exponent)
            self.exponent = exponent


def _merge_channels(
    one: ChannelStatistics | None, other: ChannelStatistics | None
) -> ChannelStatistics | None:
    """Return the channels of two streams; None if a stream lacks channels."""
    return None if one is None or other is None else one.merge(other)


def _exponent_for_magnitude(magnitude: float) -> int:
    """Return the smallest exponent with bins up to `magnitude`; frexp makes the exponent exact."""
    if magnitude == 0:
        return -126
    # frexp: magnitude = m 2**e with m in [0.5, 1), so magnitude < 2**e = SIDE 2**(e - log2 SIDE)
    return max(-126, math.frexp(magnitude)[1] - int(math.log2(SIDE)))


def _coarsen_counts(counts: Tensor, steps: int) -> Tensor:
    """Return the counts (B,) with 2**steps neighbouring bins merged, from zero outwards."""
    if steps == 0:
        return counts.clone()
    group = 2 ** min(steps, int(math.log2(SIDE)))
    merged = counts.reshape(-1, group).sum(1)
    result = torch.zeros_like(counts)
    half = SIDE // group
    result[SIDE - half : SIDE + half] = merged
    return result


def _flatten_values(x: Tensor) -> Tensor:
    """Return the values as float32 of shape (N,) in memory order, without a copy."""
    x = x.detach().float()
    if x.dim() == 4 and not x.is_contiguous():
        x = x.permute(0, 2, 3, 1)
    return x.reshape(-1)
