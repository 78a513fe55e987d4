"""How well a grid fits a tensor: rounding and clipping error, SQNR, codes used."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analysis.evaluation.measures import signal_to_noise_db
from analysis.ranges.distributions import Numbers
from quant.encoding import Encoding, encode_range
from quant.ranges.estimators import encode_weight, search
from quant.ranges.statistics import Statistics
from quant.spec import Estimator, Granularity, QuantSpec

# The search for the range of a larger weight judges by a part of its values: it passes over them
# up to 105 times, and an answer is wanted within 0.3 s.
SEARCHED_VALUES = 600_000


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """What one spec does to one tensor.

    `low`, `high` and `scale` describe the grid: shape (1,) for one grid, (C,) where channels have
    their own, in groups the widest of the channel. Errors are sums of squares over all values:
    `clipping_error` of those over half a step outside the grid, `rounding_error` of all others.
    `codes_used` of `levels` integers occur. `channel_sqnr_db` (C,) is NaN for channels without a
    signal, and None where only a stream is known.
    """

    spec: QuantSpec
    low: Numbers
    high: Numbers
    scale: Numbers
    sqnr_db: float
    rounding_error: float
    clipping_error: float
    clipped_share: float
    codes_used: int
    channel_sqnr_db: Numbers | None = None

    @property
    def levels(self) -> int:
        """The number of integers on the grid."""
        return self.spec.levels

    @property
    def used_share(self) -> float:
        """The share of the grid's integers that occur."""
        return self.codes_used / self.levels

    @property
    def clipping_part(self) -> float:
        """The share of the error that is clipping; 0 without any error."""
        total = self.rounding_error + self.clipping_error
        return self.clipping_error / total if total > 0 else 0.0


def fit_weight(weight: Tensor, spec: QuantSpec, axis: int = 0) -> Fit:
    """Return how the grid of `spec` fits a weight, measured on its values.

    Raises:
        CalibrationError: the weight is not finite.
    """
    weight = weight.detach()
    encoding = _encode(weight, spec, axis)
    steps = weight / encoding.scale
    codes = steps.round().add_(encoding.zero_point)
    clipped = (codes < encoding.qmin) | (codes > encoding.qmax)
    codes.clamp_(encoding.qmin, encoding.qmax)
    errors = encoding.dequantize(codes).sub_(weight).double().square_()
    total = float(errors.sum())
    clipping = float(errors[clipped].sum())
    # counting is faster than sorting
    seen = torch.bincount((codes - encoding.qmin).long().flatten(), minlength=spec.levels)
    channels = weight.shape[axis] if weight.dim() else 1
    squares = weight.double().square().movedim(axis, 0).reshape(channels, -1).sum(1)
    noise = errors.movedim(axis, 0).reshape(channels, -1).sum(1)
    return Fit(
        spec=spec,
        low=_by_channel(encoding.low, axis).min(1),
        high=_by_channel(encoding.high, axis).max(1),
        scale=_by_channel(encoding.scale, axis).max(1),
        sqnr_db=signal_to_noise_db(float(squares.sum()), total),
        rounding_error=max(0.0, total - clipping),
        clipping_error=clipping,
        clipped_share=float(clipped.double().mean()),
        codes_used=int((seen > 0).sum()),
        channel_sqnr_db=_decibels(squares.numpy(), noise.numpy()),
    )


def fit_statistics(statistics: Statistics, encoding: Encoding, spec: QuantSpec) -> Fit:
    """Return how a per-tensor grid fits the stream behind `statistics`.

    Values are taken as spread evenly inside their bins, of which an 8-bit step holds sixteen.

    Raises:
        CalibrationError: nothing was collected.
    """
    counts, edges = statistics.used()
    counts = counts.double()
    rounding, clipping = split_error(counts, edges, encoding)
    return Fit(
        spec=spec,
        low=_plain(encoding.low),
        high=_plain(encoding.high),
        scale=_plain(encoding.scale),
        sqnr_db=signal_to_noise_db(_energy(counts, edges), rounding + clipping),
        rounding_error=rounding,
        clipping_error=clipping,
        clipped_share=_clipped(counts, edges, encoding) / statistics.count,
        codes_used=_codes_used(counts, edges, encoding, statistics.zeros),
    )


def split_error(counts: Tensor, edges: Tensor, encoding: Encoding) -> tuple[float, float]:
    """Return (rounding, clipping): the summed squared errors of a histogram on a grid.

    Their sum is `histogram_error`. What lies at most half a step outside the grid
    is an error of rounding.
    """
    scale = encoding.scale.double()
    low, high = encoding.low.double(), encoding.high.double()
    half = scale / 2
    inside = edges.clamp(low - half, high + half)
    steps = (inside / scale).round().clamp(low / scale, high / scale)
    rests = inside - steps * scale
    rounding = steps * scale**3 / 12 + rests**3 / 3
    above = ((edges - high).clamp(min=half) ** 3 - half**3) / 3
    below = ((low - edges).clamp(min=half) ** 3 - half**3) / 3
    width = edges.diff()
    # a bin cut to a point, such as a ReLU6's pile at 6, holds one value
    point = width <= 1e-12 * scale
    left = edges[:-1]
    distance = (left - (left / scale).round().mul(scale).clamp(low, high)).square()
    outside = (left < low - half) | (left > high + half)
    safe = width.clamp(min=1e-300)
    mean_rounding = torch.where(point, distance * ~outside, rounding.diff() / safe)
    mean_clipping = torch.where(point, distance * outside, (above - below).diff() / safe)
    return float((counts * mean_rounding).sum()), float((counts * mean_clipping).sum())


def _encode(weight: Tensor, spec: QuantSpec, axis: int) -> Encoding:
    """Return the weight's grid; of a large weight, the best for a part of its values."""
    stride = math.ceil(weight.numel() / SEARCHED_VALUES)
    searches = spec.estimator is Estimator.MSE and spec.granularity is not Granularity.PER_GROUP
    if stride == 1 or not searches:
        return encode_weight(weight, spec, axis)
    shape = [1] * weight.dim()
    rows = weight.reshape(1, -1)
    if spec.granularity is Granularity.PER_CHANNEL:
        shape[axis] = -1
        rows = weight.movedim(axis, 0).reshape(weight.shape[axis], -1)
    part = rows[:, ::stride]
    low, high = search(
        rows.amin(1, keepdim=True),
        rows.amax(1, keepdim=True),
        spec,
        lambda grid: (grid.fake_quantize(part) - part).square_().sum(1, keepdim=True),
    )
    found = encode_range(low, high, spec)
    if spec.granularity is Granularity.PER_TENSOR:
        shape = []
    return Encoding(
        found.scale.reshape(shape), found.zero_point.reshape(shape), found.qmin, found.qmax
    )


def _by_channel(values: Tensor, axis: int) -> Numbers:
    """Return values that broadcast against a weight as (C, K), or (1, 1) for one of all."""
    if values.dim() == 0:
        return values.double().reshape(1, 1).numpy()
    rows = values.double().movedim(axis, 0)
    return np.asarray(rows.reshape(rows.shape[0], -1).numpy())


def _plain(value: Tensor) -> Numbers:
    return value.double().reshape(1).numpy()


def _decibels(signal: Numbers, noise: Numbers) -> Numbers:
    return np.array(
        [
            signal_to_noise_db(s, n) if s > 0 else math.nan
            for s, n in zip(signal, noise, strict=True)
        ]
    )


def _energy(counts: Tensor, edges: Tensor) -> float:
    """Return the sum of squares of a histogram's values."""
    left, right = edges[:-1], edges[1:]
    return float((counts * (left.square() + left * right + right.square()) / 3).sum())


def _clipped(counts: Tensor, edges: Tensor, encoding: Encoding) -> float:
    """Return how many values lie over half a step outside the grid."""
    half = encoding.scale.double() / 2
    low, high = encoding.low.double() - half, encoding.high.double() + half
    left, right = edges[:-1], edges[1:]
    width = right - left
    safe = width.clamp(min=1e-300)
    above = ((right - high) / safe).clamp(0, 1)
    below = ((low - left) / safe).clamp(0, 1)
    outside = torch.where(width > 0, above + below, ((left > high) | (left < low)).double())
    return float((counts * outside).sum())


def _codes_used(counts: Tensor, edges: Tensor, encoding: Encoding, zeros: int) -> int:
    """Return how many codes the filled bins reach; a narrow bin counts where its middle falls."""
    filled = counts > 0
    left, right = edges[:-1][filled], edges[1:][filled]
    narrow = right - left < encoding.scale.double() / 2
    middle = (left + right) / 2
    first = _code(torch.where(narrow, middle, left), encoding)
    last = _code(torch.where(narrow, middle, right), encoding)
    # a difference array: each bin opens at its first code and closes behind its last
    levels = encoding.qmax - encoding.qmin + 1
    opened = torch.bincount(first, minlength=levels + 1)
    closed = torch.bincount(last + 1, minlength=levels + 1)
    used = (opened - closed).cumsum(0)[:levels] > 0
    if zeros:
        used[int(encoding.zero_point) - encoding.qmin] = True
    return min(int(used.sum()), int(counts.sum()) + (1 if zeros else 0))


def _code(values: Tensor, encoding: Encoding) -> Tensor:
    return (encoding.quantize(values).long() - encoding.qmin).clamp(min=0)
