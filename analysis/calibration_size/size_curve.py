"""Ranges against the number of calibration images: noise, spread, and where to stop."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.calibration_size.chunk_statistics import (
    ChunkedCalibration,
    calibrate_in_chunks,
    data_sites,
)
from analysis.evaluation.evaluate import Data
from analysis.network import Network
from quant.config import QuantConfig
from quant.encoding import Encoding
from quant.errors import CalibrationError
from quant.progress import Progress, Steps, part_of_progress
from quant.ranges.estimators import encode_all_statistics, search_bins
from quant.ranges.range_search import histogram_error
from quant.ranges.statistics import Statistics
from quant.simulation.choose_encodings import spec_with_estimator
from quant.simulation.plan import Site, plan_sites
from quant.spec import Estimator

SEEDS = 8
BINS = 256
"""Bins of a histogram in the search for ranges: at least one for each code of 8 bits."""
Histogram = tuple[Tensor, Tensor]
"""Counts (B,) and edges (B + 1,), float64."""
STOP_DB = 0.1
"""Excess noise that is not worth more images (our choice)."""
MOVED = 0.1
"""The share of a range that one image must hold alone to be listed (our choice)."""
MOST_OUTLIERS = 12


@dataclass(frozen=True, slots=True)
class SizePoint:
    """The quality of ranges from a number of calibration images, over draws of images.

    Attributes:
        images: the number of images.
        excess_db: the excess of noise over the ranges of the whole data, in dB; the mean over
            tensors and draws.
        worst_db: the largest excess of a draw.
        spread: the standard deviation of the logarithm of a range's width over draws, as a share
            of 1; the root mean square over tensors, corrected for draws from few images.
    """

    images: int
    excess_db: float
    worst_db: float
    spread: float


@dataclass(frozen=True, slots=True)
class RangeOutlier:
    """An image without which a range would be narrower by `share` of its width."""

    index: int
    tensor: str
    share: float


@dataclass(frozen=True, slots=True)
class SizeCurve:
    """Points at growing numbers of images, and the conclusions.

    `stop_at` is the least number of images without a later draw of more than 0.1 dB of excess
    noise; None if the data are too few to tell. `power` is the exponent of the spread: spread(n) is
    proportional to n ** power.
    """

    points: tuple[SizePoint, ...]
    stop_at: int | None
    power: float
    outliers: tuple[RangeOutlier, ...]
    images: int
    tensors: int
    noun: str = "image"

    def predict_spread(self, images: int) -> float:
        """Return the predicted spread at a number of images."""
        last = self.points[-1]
        return float(last.spread * (images / last.images) ** self.power)

    @property
    def sentence(self) -> str:
        """The sufficient number of images in a sentence."""
        if self.stop_at is None:
            return (
                f"{self.images} {self.noun}s are too few to tell how many are enough: ranges still "
                f"differ by {self.points[-1].spread:.1%} between draws of {self.points[-1].images}."
            )
        return (
            f"{self.stop_at} calibration {self.noun}s are enough: ranges from so many are within "
            f"{STOP_DB:g} dB of the noise of those from {self.images}, whichever are drawn."
        )


def measure_sizes(network: Network, data: Data, config: QuantConfig) -> Steps[SizeCurve]:
    """Return how the ranges of a configuration depend on the number of calibration images.

    One pass of `data` collects statistics in chunks. Draws of chunks give the points.

    Raises:
        CalibrationError: no range depends on images, or there are too few images.
    """
    names = set(data_sites(network, config))
    sites = [site for site in plan_sites(network.graph, config) if site.name in names]
    sites = [site for site in sites if site.spec.estimator is not Estimator.BATCH_NORM]
    if not sites:
        raise CalibrationError(
            "Some range must depend on data; in this configuration none does. Choose another "
            "configuration."
        )
    chunked = yield from part_of_progress(calibrate_in_chunks(network, data), 0.0, 0.7)
    whole = {site.name: chunked.sites[site.name].subset(range(chunked.chunks)) for site in sites}
    values = {name: search_bins(statistics, BINS) for name, statistics in whole.items()}
    best = _noise(sites, encode_draws(sites, [whole]), values)[0]
    points = []
    sizes = chunk_counts(chunked.chunks)
    for place, count in enumerate(sizes):
        yield Progress(0.7 + 0.3 * place / len(sizes), f"Ranges from {count} chunks")
        points.append(_point(chunked, sites, values, best, count))
    return SizeCurve(
        points=tuple(points),
        stop_at=find_stop(points),
        power=fit_power([one.images for one in points], [one.spread for one in points]),
        outliers=tuple(find_outliers(chunked, sites)),
        images=chunked.images,
        tensors=len(sites),
        noun=network.noun,
    )


def chunk_counts(chunks: int) -> list[int]:
    """Return the numbers of chunks that are drawn: powers of two up to half of all.

    >>> chunk_counts(32)
    [1, 2, 4, 8, 16]
    """
    return [1 << power for power in range(chunks.bit_length()) if 2 << power <= chunks]


def encode_draws(
    sites: Sequence[Site], draws_of: Sequence[Mapping[str, Statistics]]
) -> list[dict[str, Encoding]]:
    """Return the encoding of each site in each draw, from the statistics of the draw.

    The search uses fewer bins than calibration, and runs 8 times faster.
    """
    found: list[dict[str, Encoding]] = [{} for _ in draws_of]
    specs = {site.name: spec_with_estimator(site, draws_of[0][site.name]) for site in sites}
    for spec in dict.fromkeys(specs.values()):
        cells = [
            (place, name) for name in specs if specs[name] == spec for place in range(len(found))
        ]
        streams = [draws_of[place][name] for place, name in cells]
        encodings = encode_all_statistics(streams, spec, BINS)
        for (place, name), encoding in zip(cells, encodings, strict=True):
            found[place][name] = encoding
    return found


def _noise(
    sites: Sequence[Site],
    draws_of: Sequence[Mapping[str, Encoding]],
    values: Mapping[str, Histogram],
) -> NDArray[np.float64]:
    """Return the noise energy (R, S) of the encodings of R draws on the whole data."""
    found = np.zeros((len(draws_of), len(sites)))
    for column, site in enumerate(sites):
        own = [encodings[site.name] for encodings in draws_of]
        for ends in {(one.qmin, one.qmax) for one in own}:
            rows = [row for row, one in enumerate(own) if (one.qmin, one.qmax) == ends]
            scales = torch.stack([own[row].scale for row in rows])
            zero_points = torch.stack([own[row].zero_point for row in rows])
            errors = histogram_error(*values[site.name], Encoding(scales, zero_points, *ends))
            found[rows, column] = errors.numpy()
    return found


def _point(
    chunked: ChunkedCalibration,
    sites: Sequence[Site],
    values: Mapping[str, Histogram],
    best: NDArray[np.float64],
    count: int,
) -> SizePoint:
    """Return the point of draws of `count` chunks."""
    drawn = [
        {site.name: chunked.sites[site.name].subset(chosen) for site in sites}
        for chosen in draws(chunked.chunks, count)
    ]
    encodings = encode_draws(sites, drawn)
    noise = _noise(sites, encodings, values)
    known = (noise > 0).all(0) & (best > 0)
    excess = (10 * np.log10(noise[:, known] / best[known])).mean(1) if known.any() else np.zeros(1)
    widths = np.log([[float(one[site.name].scale) for site in sites] for one in encodings])
    few = math.sqrt(1 - count / chunked.chunks)  # draws without replacement from few chunks
    spread = float(np.sqrt(np.var(widths, axis=0, ddof=1).mean())) / few
    return SizePoint(
        images=count * chunked.chunk_images,
        excess_db=float(np.mean(excess)),
        worst_db=float(np.max(excess)),
        spread=spread,
    )


def draws(chunks: int, count: int) -> Iterator[list[int]]:
    """Yield draws of `count` chunks without replacement; repeated calls give equal draws."""
    for seed in range(SEEDS):
        yield np.random.default_rng([seed, count]).permutation(chunks)[:count].tolist()


def find_stop(points: list[SizePoint]) -> int | None:
    """Return the least number of images without a later draw of much excess noise."""
    found = None
    for point in reversed(points):
        if point.worst_db > STOP_DB:
            break
        found = point.images
    return found


def fit_power(images: list[int], spreads: list[float]) -> float:
    """Return the slope of log spread against log images, by least squares; -0.5 if unknown.

    >>> round(fit_power([8, 16, 32], [0.4, 0.2, 0.1]), 6)
    -1.0
    """
    known = [(n, spread) for n, spread in zip(images, spreads, strict=True) if spread > 0]
    if len(known) < 2:
        return -0.5
    x, y = np.log(np.array(known)).T
    return float(np.polyfit(x, y, 1)[0])


def find_outliers(chunked: ChunkedCalibration, sites: list[Site]) -> list[RangeOutlier]:
    """Return the images that alone hold at least 10 % of a range, the largest shares first."""
    found = []
    for site in sites:
        chunks = chunked.sites[site.name]
        if len(chunks.image_low) < 2:
            continue
        width = float(chunks.image_high.max() - chunks.image_low.min())
        for values, sign in ((chunks.image_high, 1.0), (chunks.image_low, -1.0)):
            order = np.argsort(-sign * values)
            gap = abs(float(values[order[0]] - values[order[1]]))
            if width > 0 and gap >= MOVED * width:
                index = chunked.indices[int(order[0])]
                found.append(RangeOutlier(index, site.name, gap / width))
    return sorted(found, key=lambda one: -one.share)[:MOST_OUTLIERS]
