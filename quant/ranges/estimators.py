"""Range estimators: from values or statistics to an encoding (white paper, section 3.1)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from quant.encoding import SMALLEST_SCALE, Encoding, encode_range
from quant.errors import CalibrationError
from quant.ranges.statistics import Statistics
from quant.spec import Estimator, Granularity, QuantSpec

# What the search tries: the whole range shrunk evenly; where the ends are free, each end by itself,
# or one outlier would cost the other side; then small steps around the best. The tests hold it
# against brute force: the error is at most 5 % above the least, over eleven kinds of values.
BOTH_ENDS = tuple(0.8**step for step in range(1, 21))
ONE_END = tuple(0.7**step for step in range(1, 14))
FINE_BOTH = (0.91, 0.955, 1.045, 1.09, 0.97, 0.985, 1.015, 1.03)
FINE_ONE = (0.84, 0.92, 1.08, 1.16, 0.94, 0.97, 1.03, 1.06, 0.98, 0.99, 1.01, 1.02)
SEARCH_BINS = 2048


def encode_weight(weight: Tensor, spec: QuantSpec, channel_axis: int = 0) -> Encoding:
    """Return the encoding of a weight of shape (O, I, ...) without data.

    Per-channel gives a scale for each index of `channel_axis`; per-group a scale for each output
    channel and `group_size` input channels. At one bit the scale is the mean of |w|, the scale with
    the least squared error, whatever the estimator (our choice: a range means nothing there).

    Raises:
        CalibrationError: the weight is not finite, or the number of widths is not that of channels.
    """
    if not bool(torch.isfinite(weight).all()):
        raise CalibrationError("A weight must be finite; got NaN or infinity. Check the file.")
    blocks = _weight_blocks(weight.detach(), spec, channel_axis)
    encoding = (
        _encode_mixed_rows(blocks, spec) if spec.channel_bits else _encode_equal_rows(blocks, spec)
    )
    bits = encoding.channel_bits
    return Encoding(
        _shape_for_weight(encoding.scale, weight, spec, channel_axis),
        _shape_for_weight(encoding.zero_point, weight, spec, channel_axis),
        encoding.qmin,
        encoding.qmax,
        bits
        if bits is None or bits.dim() == 0
        else _shape_for_weight(bits, weight, spec, channel_axis),
    )


def _encode_equal_rows(blocks: Tensor, spec: QuantSpec, *, signed: bool = False) -> Encoding:
    """Return the encoding of rows (R, K) of one width; `signed` even without negative values."""
    low, high = blocks.amin(1), blocks.amax(1)
    if signed:
        low = low.clamp(max=-SMALLEST_SCALE)
    if spec.bits == 1:
        low = high = blocks.abs().mean(1)
    elif spec.estimator is Estimator.PERCENTILE:
        low, high = _percentiles_of_rows(blocks, spec.percentile)
    elif spec.estimator is Estimator.MSE:
        low, high = search_best_range(
            low, high, spec, lambda encoding: _squared_row_error(blocks, encoding)
        )
    return encode_range(low, high, spec)


def _encode_mixed_rows(blocks: Tensor, spec: QuantSpec) -> Encoding:
    """Return the encodings of rows (R, K) of several widths: one search for each width."""
    if len(spec.channel_bits) != len(blocks):
        raise CalibrationError(
            f"A width for each channel must be given; got {len(spec.channel_bits)} widths for "
            f"{len(blocks)} channels. The configuration belongs to another network."
        )
    bits = torch.tensor(spec.channel_bits, dtype=torch.int8)
    scale = torch.empty(len(blocks))
    limits: list[int] = []
    for width in sorted(set(spec.channel_bits)):
        rows = bits == width
        found = _encode_equal_rows(blocks[rows], spec.with_bits(width), signed=True)
        scale[rows] = found.scale
        limits += [found.qmin, found.qmax]
    return Encoding(scale, torch.zeros_like(scale), min(limits), max(limits), bits)


def encode_statistics(statistics: Statistics, spec: QuantSpec) -> Encoding:
    """Return the per-tensor encoding for the stream of values behind `statistics`.

    Raises:
        CalibrationError: the statistics are empty, or lack the estimator's needs: rows of logits
            for cross-entropy, batch norms for the data-free estimator.
    """
    if statistics.count == 0:
        raise CalibrationError(
            "A range needs statistics; none were collected. Calibrate on some images first."
        )
    low, high = torch.tensor(statistics.low), torch.tensor(statistics.high)
    if spec.estimator is Estimator.PERCENTILE:
        share = spec.percentile / 100
        low = torch.tensor(min(statistics.quantile(1 - share), 0.0))
        high = torch.tensor(max(statistics.quantile(share), 0.0))
    elif spec.estimator is Estimator.MSE:
        counts, edges = search_bins(statistics)
        low, high = search_best_range(
            low, high, spec, lambda encoding: histogram_error(counts, edges, encoding)
        )
    elif spec.estimator is Estimator.CROSS_ENTROPY:
        rows = _rows_of_logits(statistics)
        low, high = search_best_range(
            low, high, spec, lambda encoding: _cross_entropy_loss(rows, encoding)
        )
    elif spec.estimator is Estimator.BATCH_NORM:
        raise CalibrationError("The batch-norm estimator takes moments, not statistics.")
    return encode_range(low, high, spec)


def encode_all_statistics(
    streams: Sequence[Statistics], spec: QuantSpec, bins: int = SEARCH_BINS
) -> list[Encoding]:
    """Return the encodings of several streams, as `encode_statistics`, by a joint search.

    Fewer `bins` make the search of least squared error faster and coarser.

    Raises:
        CalibrationError: as `encode_statistics`.
    """
    if spec.estimator is not Estimator.MSE or any(stream.count == 0 for stream in streams):
        return [encode_statistics(stream, spec) for stream in streams]
    # a symmetric encoding of values above zero has other limits; a search has one pair of limits
    signed = [spec.symmetric and stream.low < 0 for stream in streams]
    found: dict[int, Encoding] = {}
    for sign in set(signed):
        places = [place for place, own in enumerate(signed) if own == sign]
        found.update(
            zip(places, _search_all_streams([streams[p] for p in places], spec, bins), strict=True)
        )
    return [found[place] for place in range(len(streams))]


def _search_all_streams(
    streams: Sequence[Statistics], spec: QuantSpec, bins: int
) -> list[Encoding]:
    low = torch.tensor([stream.low for stream in streams])
    high = torch.tensor([stream.high for stream in streams])
    histograms = [search_bins(stream, bins) for stream in streams]
    counts, edges = map(torch.stack, zip(*histograms, strict=True))
    low, high = search_best_range(
        low, high, spec, lambda encoding: histogram_error(counts, edges, encoding)
    )
    return [encode_range(*limits, spec) for limits in zip(low, high, strict=True)]


def search_best_range(
    low: Tensor, high: Tensor, spec: QuantSpec, error: Callable[[Encoding], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return (low, high) within the given ranges with the least `error`, by element.

    `low` and `high` have shape (R,) or (); `error` maps an encoding of the shape to a number per
    element. The full range is a candidate, so the result is never worse than min-max.
    """
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)  # an encoding holds zero
    best = _Best(low, high, lambda a, b: error(encode_range(a, b, spec)))
    for ratio in BOTH_ENDS:
        best.attempt_range(low * ratio, high * ratio)
    if not spec.symmetric:
        _shrink_one_end(best, low, high)
        # again: the best place of one end depends on the other
        _shrink_one_end(best, best.low, best.high)
    for factor in FINE_BOTH:
        best.attempt_range(best.low * factor, best.high * factor)
    if not spec.symmetric:
        for factor in FINE_ONE:
            best.attempt_range(best.low * factor, best.high)
            best.attempt_range(best.low, best.high * factor)
    return best.low, best.high


class _Best:
    """The range with the least loss so far, by element."""

    def __init__(
        self, low: Tensor, high: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self.low, self.high, self._loss_of = low, high, loss_of
        self._loss = loss_of(low, high)

    def attempt_range(self, low: Tensor, high: Tensor) -> None:
        """Take over the given range, (R,), for elements with less loss."""
        loss = self._loss_of(low, high)
        better = loss < self._loss
        self._loss = torch.where(better, loss, self._loss)
        self.low = torch.where(better, low, self.low)
        self.high = torch.where(better, high, self.high)


def _shrink_one_end(best: _Best, low: Tensor, high: Tensor) -> None:
    for ratio in ONE_END:
        best.attempt_range(low, high * ratio)
        best.attempt_range(low * ratio, high)


def histogram_error(counts: Tensor, edges: Tensor, encoding: Encoding) -> Tensor:
    """Return the summed squared error of quantizing a histogram per tensor, float64.

    Values are taken as spread evenly inside a bin, and the error is integrated exactly: s^2/12 for
    a full step inside the encoding, the squared distance to the end outside. For R histograms,
    counts (R, B) and edges (R, B + 1), a scale (R,) gives errors (R,).
    """
    scale = encoding.scale.double()
    low, high = encoding.low.double(), encoding.high.double()
    if scale.dim():
        scale, low, high = scale[:, None], low[:, None], high[:, None]
    integral = _error_integral(edges, scale, low, high)
    width = edges.diff()
    mean = integral.diff() / width.clamp(min=1e-300)
    starts = edges[..., :-1]
    nearest = (starts / scale).round().mul(scale).clamp(low, high)
    at_point = (starts - nearest).square()
    # a bin cut to a point, such as a ReLU6's pile at 6, holds one value
    return (counts * torch.where(width > 1e-12 * scale, mean, at_point)).sum(-1)


def _error_integral(x: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the integral of the squared quantization error from 0 to x, of x's shape."""
    inside = x.clamp(low, high)
    step = (inside / scale).round()
    rest = inside - step * scale
    rounding = step * scale**3 / 12 + rest**3 / 3
    above = (x - high).clamp(min=0) ** 3 / 3
    below = (low - x).clamp(min=0) ** 3 / 3
    return rounding + above - below


def search_bins(statistics: Statistics, bins: int = SEARCH_BINS) -> tuple[Tensor, Tensor]:
    """Return (counts, edges) with `bins` bins, neighbours merged.

    The last bins may have zero width and count nothing, without effect on errors. Equal numbers of
    bins make sums round alike for any selection of streams.
    """
    counts, edges = statistics.used_bins()
    group = -(-len(counts) // bins)
    if group > 1:
        padding = -len(counts) % group
        counts = F.pad(counts, (0, padding)).reshape(-1, group).sum(1)
        edges = torch.cat([edges[:-1:group], edges[-1:]])
    missing = bins - len(counts)
    return F.pad(counts, (0, missing)).double(), torch.cat([edges, edges[-1:].expand(missing)])


def _rows_of_logits(statistics: Statistics) -> Tensor:
    if statistics.rows is None:
        raise CalibrationError(
            "Cross-entropy is for the network's logits, the last layer; this layer is another. "
            "Choose mse, percentile or min-max here."
        )
    return statistics.rows


def _cross_entropy_loss(rows: Tensor, encoding: Encoding) -> Tensor:
    """Return H(softmax(v), softmax(v^)), a scalar averaged over rows (white paper, section 3.1)."""
    return F.cross_entropy(encoding.fake_quantize(rows), rows.softmax(1))


def _squared_row_error(blocks: Tensor, encoding: Encoding) -> Tensor:
    rows = Encoding(
        encoding.scale[:, None], encoding.zero_point[:, None], encoding.qmin, encoding.qmax
    )
    return rows.fake_quantize(blocks).sub_(blocks).square_().sum(1)


def _percentiles_of_rows(blocks: Tensor, percentile: float) -> tuple[Tensor, Tensor]:
    """Return the two-sided percentiles (R,) of rows (R, K); the outer ones for short rows."""
    last = blocks.shape[1] - 1
    cut = int((1 - percentile / 100) * last)
    ordered = blocks.sort(1).values
    return ordered[:, cut].clamp(max=0), ordered[:, last - cut].clamp(min=0)


def _weight_blocks(weight: Tensor, spec: QuantSpec, axis: int) -> Tensor:
    """Return the weight as (R, K): a row holds the values with a common scale."""
    if spec.granularity is Granularity.PER_TENSOR:
        return weight.reshape(1, -1)
    rows = weight.movedim(axis, 0)
    if spec.granularity is Granularity.PER_CHANNEL or rows.dim() == 1:
        return rows.reshape(len(rows), -1)
    size = min(spec.group_size, rows.shape[1])
    # the last group may be short; repeating one of its own values changes neither its limits
    # nor, by more than a weight, its error
    short = -rows.shape[1] % size
    if short:
        rows = torch.cat([rows, rows[:, -1:].expand(-1, short, *rows.shape[2:])], 1)
    return rows.reshape(len(rows) * (rows.shape[1] // size), -1)


def _shape_for_weight(values: Tensor, weight: Tensor, spec: QuantSpec, axis: int) -> Tensor:
    """Return values (R,), one a row, in a shape that broadcasts against the weight."""
    if spec.granularity is Granularity.PER_TENSOR:
        return values.reshape(())
    shape = [1] * weight.dim()
    if spec.granularity is Granularity.PER_CHANNEL or weight.dim() == 1:
        shape[axis] = -1
        return values.reshape(shape)
    channels, inputs = weight.shape[axis], weight.shape[1 - axis]
    size = min(spec.group_size, inputs)
    spread = values.reshape(channels, -1).repeat_interleave(size, 1)[:, :inputs]
    shape[0], shape[1] = channels, inputs
    return spread.reshape(shape).movedim(0, axis) if axis else spread.reshape(shape)
