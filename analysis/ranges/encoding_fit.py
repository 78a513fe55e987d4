"""How well an encoding fits a tensor: rounding error, clipping error, SQNR, codes used."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analysis.evaluation.measures import signal_to_noise_db
from analysis.ranges.distributions import Numbers
from quant.encoding import Encoding, encode_range
from quant.ranges.estimators import encode_weight
from quant.ranges.range_search import search_row_ranges
from quant.ranges.statistics import Statistics
from quant.spec import Estimator, Granularity, QuantSpec

# The range search on a larger weight uses a part of its values, because the search passes over all
# values up to 105 times and the app needs an answer within 0.3 s.
SEARCHED_VALUES = 600_000


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """The effect of one spec on one tensor.

    `low`, `high` and `scale` describe the encoding: shape (1,) per tensor, (C,) per channel; with
    groups, the widest group of each channel. Errors are sums of squares over the values:
    `clipping_error` of values more than half a step outside the encoding, `rounding_error` of the
    other values. `codes_used` of `code_count` codes occur. `channel_sqnr_db` (C,) is NaN for
    channels without a signal, and None for an activation, since only statistics are stored.
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
    def code_count(self) -> int:
        """The number of codes of the encoding."""
        return self.spec.levels

    @property
    def used_code_share(self) -> float:
        """The share of the codes that occur among the values, 0 to 1."""
        return self.codes_used / self.code_count

    @property
    def clipping_part(self) -> float:
        """The share of clipping in the total error, 0 to 1; 0 without error."""
        total = self.rounding_error + self.clipping_error
        return self.clipping_error / total if total > 0 else 0.0


def fit_weight_encoding(weight: Tensor, spec: QuantSpec, axis: int = 0) -> Fit:
    """Return the fit of the encoding of `spec` to a weight, measured on the weight's values.

    `axis` is the axis of the channels.

    Example:
        >>> weight = torch.linspace(-1, 1, 256).reshape(1, 256)
        >>> fit_weight_encoding(weight, QuantSpec(8)).codes_used
        255
    """
    weight = weight.detach()
    encoding = _choose_weight_encoding(weight, spec, axis)
    steps = weight / encoding.scale
    codes = steps.round().add_(encoding.zero_point)
    least, greatest = encoding.code_limits()
    clipped = (codes < least) | (codes > greatest)
    codes = encoding.quantize(weight)
    errors = encoding.dequantize(codes).sub_(weight).double().square_()
    total = float(errors.sum())
    clipping = float(errors[clipped].sum())
    # Counting is faster than sorting.
    seen = torch.bincount((codes - encoding.qmin).long().flatten(), minlength=spec.levels)
    channels = weight.shape[axis] if weight.dim() else 1
    squares = weight.double().square().movedim(axis, 0).reshape(channels, -1).sum(1)
    noise = errors.movedim(axis, 0).reshape(channels, -1).sum(1)
    return Fit(
        spec=spec,
        low=_channel_rows(encoding.low, axis).min(1),
        high=_channel_rows(encoding.high, axis).max(1),
        scale=_channel_rows(encoding.scale, axis).max(1),
        sqnr_db=signal_to_noise_db(float(squares.sum()), total),
        rounding_error=max(0.0, total - clipping),
        clipping_error=clipping,
        clipped_share=float(clipped.double().mean()),
        codes_used=int((seen > 0).sum()),
        channel_sqnr_db=_channel_sqnr_db(squares.numpy(), noise.numpy()),
    )


def fit_statistics_encoding(statistics: Statistics, encoding: Encoding, spec: QuantSpec) -> Fit:
    """Return the fit of a per-tensor encoding to the values behind `statistics`.

    The formulas assume values spread evenly within each bin; a step of 8 bits holds sixteen bins.

    Raises:
        CalibrationError: the statistics hold no values.
    """
    counts, edges = statistics.used_bins()
    counts = counts.double()
    rounding, clipping = split_histogram_error(counts, edges, encoding)
    return Fit(
        spec=spec,
        low=_single_number_array(encoding.low),
        high=_single_number_array(encoding.high),
        scale=_single_number_array(encoding.scale),
        sqnr_db=signal_to_noise_db(_histogram_energy(counts, edges), rounding + clipping),
        rounding_error=rounding,
        clipping_error=clipping,
        clipped_share=_count_clipped(counts, edges, encoding) / statistics.count,
        codes_used=_count_codes_used(counts, edges, encoding, statistics.zeros),
    )


def split_histogram_error(counts: Tensor, edges: Tensor, encoding: Encoding) -> tuple[float, float]:
    """Return (rounding, clipping): the summed squared errors of a histogram under an encoding.

    `counts` is (B,), `edges` (B + 1,). Rounding and clipping add up to `histogram_error`. An error
    at most half a step outside the encoding counts as rounding.
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
    # A bin of width zero, such as the values of a ReLU6 at 6, holds a single value.
    point = width <= 1e-12 * scale
    left = edges[:-1]
    distance = (left - (left / scale).round().mul(scale).clamp(low, high)).square()
    outside = (left < low - half) | (left > high + half)
    safe = width.clamp(min=1e-300)
    mean_rounding = torch.where(point, distance * ~outside, rounding.diff() / safe)
    mean_clipping = torch.where(point, distance * outside, (above - below).diff() / safe)
    return float((counts * mean_rounding).sum()), float((counts * mean_clipping).sum())


def _choose_weight_encoding(weight: Tensor, spec: QuantSpec, axis: int) -> Encoding:
    """Return the encoding of a weight of any shape; a part of a large weight decides."""
    stride = math.ceil(weight.numel() / SEARCHED_VALUES)
    searches = spec.estimator is Estimator.MSE and spec.granularity is not Granularity.PER_GROUP
    if stride == 1 or not searches or spec.channel_bits or spec.bits == 1:
        return encode_weight(weight, spec, axis)
    shape = [1] * weight.dim()
    rows = weight.reshape(1, -1)
    if spec.granularity is Granularity.PER_CHANNEL:
        shape[axis] = -1
        rows = weight.movedim(axis, 0).reshape(weight.shape[axis], -1)
    part = rows[:, ::stride]
    low, high = search_row_ranges(part, rows.amin(1), rows.amax(1), spec)
    best = encode_range(low, high, spec)
    if spec.granularity is Granularity.PER_TENSOR:
        shape = []
    return Encoding(best.scale.reshape(shape), best.zero_point.reshape(shape), best.qmin, best.qmax)


def _channel_rows(values: Tensor, axis: int) -> Numbers:
    """Return values that broadcast against a weight as (C, K), or (1, 1) per tensor."""
    if values.dim() == 0:
        return values.double().reshape(1, 1).numpy()
    rows = values.double().movedim(axis, 0)
    return np.asarray(rows.reshape(rows.shape[0], -1).numpy())


def _single_number_array(value: Tensor) -> Numbers:
    return value.double().reshape(1).numpy()


def _channel_sqnr_db(signal: Numbers, noise: Numbers) -> Numbers:
    return np.array(
        [
            signal_to_noise_db(s, n) if s > 0 else math.nan
            for s, n in zip(signal, noise, strict=True)
        ]
    )


def _histogram_energy(counts: Tensor, edges: Tensor) -> float:
    """Return the sum of squares of a histogram's values; counts have shape (B,)."""
    left, right = edges[:-1], edges[1:]
    return float((counts * (left.square() + left * right + right.square()) / 3).sum())


def _count_clipped(counts: Tensor, edges: Tensor, encoding: Encoding) -> float:
    """Return the number of values beyond half a step outside; counts have shape (B,)."""
    half = encoding.scale.double() / 2
    low, high = encoding.low.double() - half, encoding.high.double() + half
    left, right = edges[:-1], edges[1:]
    width = right - left
    safe = width.clamp(min=1e-300)
    above = ((right - high) / safe).clamp(0, 1)
    below = ((low - left) / safe).clamp(0, 1)
    outside = torch.where(width > 0, above + below, ((left > high) | (left < low)).double())
    return float((counts * outside).sum())


def _count_codes_used(counts: Tensor, edges: Tensor, encoding: Encoding, zeros: int) -> int:
    """Return the number of codes that filled bins reach; counts have shape (B,).

    A narrow bin counts at the middle.
    """
    filled = counts > 0
    left, right = edges[:-1][filled], edges[1:][filled]
    narrow = right - left < encoding.scale.double() / 2
    middle = (left + right) / 2
    first = _code_index_of(torch.where(narrow, middle, left), encoding)
    last = _code_index_of(torch.where(narrow, middle, right), encoding)
    # Difference array: +1 at the first code of each bin, -1 behind the last code.
    levels = encoding.qmax - encoding.qmin + 1
    opened = torch.bincount(first, minlength=levels + 1)
    closed = torch.bincount(last + 1, minlength=levels + 1)
    used = (opened - closed).cumsum(0)[:levels] > 0
    if zeros:
        used[int(encoding.zero_point) - encoding.qmin] = True
    return min(int(used.sum()), int(counts.sum()) + (1 if zeros else 0))


def _code_index_of(values: Tensor, encoding: Encoding) -> Tensor:
    return (encoding.quantize(values).long() - encoding.qmin).clamp(min=0)
