"""Range estimators: from values or statistics to an encoding (white paper, section 3.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from quant.encoding import SMALLEST_SCALE, Encoding, encode_range
from quant.errors import CalibrationError
from quant.ranges.range_search import (
    search_best_range,
    search_histogram_ranges,
    search_row_ranges,
)
from quant.ranges.statistics import Statistics
from quant.spec import Estimator, Granularity, QuantSpec

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
        low, high = search_row_ranges(blocks, low, high, spec)
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
            "A range needs statistics; none were collected. Calibrate on some data first."
        )
    low, high = torch.tensor(statistics.low), torch.tensor(statistics.high)
    if spec.estimator is Estimator.PERCENTILE:
        share = spec.percentile / 100
        low = torch.tensor(min(statistics.quantile(1 - share), 0.0))
        high = torch.tensor(max(statistics.quantile(share), 0.0))
    elif spec.estimator is Estimator.MSE:
        counts, edges = search_bins(statistics)
        low, high = search_histogram_ranges(counts, edges, low, high, spec)
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
    low, high = search_histogram_ranges(counts, edges, low, high, spec)
    return [encode_range(*limits, spec) for limits in zip(low, high, strict=True)]


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
