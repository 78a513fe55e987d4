"""The distribution of a tensor's values: histogram, moments, and the range of every channel."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from quant.errors import CalibrationError
from quant.graph.float_graph import FloatGraph
from quant.ranges.statistics import Statistics
from quant.simulation.plan import Side

Numbers = NDArray[np.float64]
# A channel's inner range lies between these quantiles.
INNER_QUANTILES = (0.05, 0.95)
# A channel below this share of the largest channel is dead. Training leaves many dead channels: a
# range of 1e-6 is rounding noise of float32.
DEAD_SHARE = 1e-6
MAX_BARS = 300
OUTLIER_SHARE = 0.005
"""Share of the values at each end that may become outliers."""
SPREAD = 3.0
"""Where the range exceeds that of the bulk so many times, outliers stand apart (our choice)."""


@dataclass(frozen=True, eq=False, slots=True)
class Channels:
    """The range of every channel; the arrays have shape (C,).

    `inner_low` and `inner_high` bound the bulk of a channel: the 5th and 95th percentile of a
    weight; the mean plus and minus two standard deviations of an activation, within `low` and
    `high`.
    """

    low: Numbers
    high: Numbers
    mean: Numbers
    inner_low: Numbers
    inner_high: Numbers

    @property
    def largest_by_channel(self) -> Numbers:
        """The largest magnitude of each channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def alive_channels(self) -> NDArray[np.bool_]:
        """True for each channel (C,) above `DEAD_SHARE` of the largest magnitude."""
        largest = self.largest_by_channel
        return np.asarray(largest > DEAD_SHARE * largest.max(initial=0.0))

    @property
    def widest_to_median_ratio(self) -> float:
        """Magnitude of the widest over the median channel, without dead channels; at least 1."""
        return widest_to_median_ratio(self.largest_by_channel)


@dataclass(frozen=True, eq=False, slots=True)
class Bars:
    """A histogram: counts (B,) and edges (B + 1,), both float64.

    `below` and `above` say whether the first and the last bar hold the outliers of a side: those
    bars are wider than the others.
    """

    counts: Numbers
    edges: Numbers
    below: bool = False
    above: bool = False

    @property
    def bulk(self) -> tuple[float, float]:
        """The ends of the bars of equal width."""
        return float(self.edges[int(self.below)]), float(self.edges[-1 - int(self.above)])

    @property
    def outliers(self) -> tuple[int, int]:
        """The number of values in the bar of outliers of each side; 0 without such a bar."""
        low = int(self.counts[0]) if self.below else 0
        return low, int(self.counts[-1]) if self.above else 0


@dataclass(frozen=True, eq=False, slots=True)
class Distribution:
    """The values of one tensor, as a histogram and moments without the tensor.

    `counts` (B,) and `edges` (B + 1,), both float64, exclude the `zeros` exact zeros among the
    `count` values. `kurtosis` is the fourth central moment over the squared variance: 3 for a
    normal distribution. `std` is the standard deviation. `channels` is None for unknown channels.
    """

    layer: str
    side: Side
    count: int
    zeros: int
    low: float
    high: float
    std: float
    kurtosis: float
    counts: Tensor
    edges: Tensor
    channels: Channels | None

    @property
    def largest_magnitude(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    @property
    def peak_in_std(self) -> float:
        """The largest magnitude in standard deviations."""
        return self.largest_magnitude / self.std if self.std > 0 else 0.0

    def histogram_bars(self, most: int = MAX_BARS) -> Bars:
        """Return at most `most` equal bars over the bulk, zeros included, and bars of outliers.

        Few values far out would leave the bulk a single spike. Where the range of all but the
        outermost values of a side is much narrower than the range, these values share a bar.
        """
        if self.low == self.high:
            return Bars(np.array([float(self.count)]), np.array([self.low, self.high]))
        values, weights = self._weighted_values()
        low, high = self._bulk_ends(values, weights)
        inside = int(((values >= low) & (values <= high)).sum())
        edges = np.linspace(low, high, max(2, min(most, inside)) + 1)
        below, above = low > self.low, high < self.high
        ends = [[self.low]] * below, [[self.high]] * above
        edges = np.concatenate([*ends[0], edges, *ends[1]])
        counts, _ = np.histogram(values, edges, weights=weights)
        return Bars(counts, edges, below, above)

    def _weighted_values(self) -> tuple[Numbers, Numbers]:
        """Return sorted values and their counts: the middles of the fine bins, and zero."""
        fine = self.edges.numpy()
        values, weights = (fine[:-1] + fine[1:]) / 2, self.counts.numpy()
        if self.zeros:
            place = int(np.searchsorted(values, 0.0))
            values = np.insert(values, place, 0.0)
            weights = np.insert(weights, place, float(self.zeros))
        return values, weights

    def _bulk_ends(self, values: Numbers, weights: Numbers) -> tuple[float, float]:
        """Return the ends of the bulk, which are those of the range without outliers."""
        shares = np.cumsum(weights) / weights.sum()
        low = float(values[int(np.searchsorted(shares, OUTLIER_SHARE))])
        high = float(values[int(np.searchsorted(shares, 1 - OUTLIER_SHARE))])
        margin = (high - low) / 10
        if high <= low or SPREAD * (high - low) > self.high - self.low:
            return self.low, self.high
        low, high = low - margin, high + margin
        return (
            low if low - self.low > 2 * margin else self.low,
            high if self.high - high > 2 * margin else self.high,
        )


def widest_to_median_ratio(largest: Numbers) -> float:
    """Return the largest over the median of the magnitudes (C,) of channels, without dead channels.

    Every page and report that tells how unequal channels are takes this ratio; it is 1 or more.

    Example:
        >>> widest_to_median_ratio(np.array([8.0, 2.0, 2.0, 0.0]))
        4.0
    """
    alive = largest[largest > DEAD_SHARE * largest.max(initial=0.0)]
    return float(alive.max() / np.median(alive)) if len(alive) else 1.0


def format_ratio(ratio: float) -> str:
    """Return a ratio as text: three digits, or all digits of a whole number.

    Example:
        >>> format_ratio(783.4), format_ratio(2.716)
        ('783', '2.72')
    """
    return f"{ratio:.0f}" if ratio >= 99.5 else f"{ratio:.3g}"


def weight_distribution(layer: str, weight: Tensor, axis: int = 0) -> Distribution:
    """Return the distribution of a weight's values; `axis` is the axis of the channels.

    The weight has the shape (C, ...) with channels on axis 0.

    Example:
        >>> weight = torch.tensor([[1.0, -1.0], [4.0, 0.0]])
        >>> weight_distribution("fc", weight).channels.widest_to_median_ratio
        1.6
    """
    weight = weight.detach().float()
    statistics = Statistics()
    statistics.collect(weight)
    centred = weight.double() - weight.double().mean()
    variance = float(centred.square().mean())
    fourth = float(centred.square().square().mean())
    kurtosis = fourth / variance**2 if variance > 0 else 0.0
    rows = weight.movedim(axis, 0).reshape(weight.shape[axis] if weight.dim() else 1, -1)
    return _build_distribution(
        layer, Side.WEIGHTS, statistics, (variance**0.5, kurtosis), _weight_channels(rows)
    )


def activation_distribution(layer: str, statistics: Statistics) -> Distribution:
    """Return the distribution of an activation's values from calibration statistics.

    Raises:
        CalibrationError: the statistics hold no values.
    """
    if statistics.count == 0:
        raise CalibrationError(
            f"Statistics of {layer!r} must hold values; none were collected. Calibrate first."
        )
    return _build_distribution(
        layer,
        Side.ACTIVATIONS,
        statistics,
        _histogram_moments(statistics),
        _stream_channels(statistics),
    )


def weight_distributions(graph: FloatGraph) -> dict[str, Distribution]:
    """Return the distribution of every weight by layer, in execution order; needs no data."""
    return {
        layer.name: weight_distribution(
            layer.name, graph.stored_tensor(layer.weight), layer.channel_axis
        )
        for layer in graph.layers
        if layer.weight is not None
    }


def activation_distributions(statistics: dict[str, Statistics]) -> dict[str, Distribution]:
    """Return the distribution of every activation by layer, from calibration statistics."""
    return {
        name: activation_distribution(name, layer_statistics)
        for name, layer_statistics in statistics.items()
    }


def _build_distribution(
    layer: str,
    side: Side,
    statistics: Statistics,
    moments: tuple[float, float],
    channels: Channels | None,
) -> Distribution:
    counts, edges = statistics.used_bins()
    return Distribution(
        layer=layer,
        side=side,
        count=statistics.count,
        zeros=statistics.zeros,
        low=statistics.low,
        high=statistics.high,
        std=moments[0],
        kurtosis=moments[1],
        counts=counts.double(),
        edges=edges,
        channels=channels,
    )


def _histogram_moments(statistics: Statistics) -> tuple[float, float]:
    """Return (std, kurtosis) of a histogram, with each bin's values at the middle of the bin."""
    counts, edges = statistics.used_bins()
    shares = counts.double() / statistics.count
    middles = (edges[:-1] + edges[1:]) / 2
    zeros = statistics.zeros / statistics.count
    mean = float((shares * middles).sum())
    variance = float((shares * (middles - mean).square()).sum()) + zeros * mean**2
    fourth = float((shares * (middles - mean) ** 4).sum()) + zeros * mean**4
    return variance**0.5, fourth / variance**2 if variance > 0 else 0.0


def _weight_channels(rows: Tensor) -> Channels:
    inner = torch.quantile(rows.double(), torch.tensor(INNER_QUANTILES, dtype=torch.float64), dim=1)
    return Channels(
        low=_float64_array(rows.amin(1)),
        high=_float64_array(rows.amax(1)),
        mean=_float64_array(rows.double().mean(1)),
        inner_low=_float64_array(inner[0]),
        inner_high=_float64_array(inner[1]),
    )


def _stream_channels(statistics: Statistics) -> Channels | None:
    channels = statistics.channels
    if channels is None or channels.count == 0:
        return None
    low, high = channels.low.double(), channels.high.double()
    return Channels(
        low=_float64_array(low),
        high=_float64_array(high),
        mean=_float64_array(channels.mean),
        inner_low=_float64_array(torch.maximum(channels.mean - 2 * channels.std, low)),
        inner_high=_float64_array(torch.minimum(channels.mean + 2 * channels.std, high)),
    )


def _float64_array(values: ArrayLike) -> Numbers:
    return np.asarray(values, dtype=np.float64)
