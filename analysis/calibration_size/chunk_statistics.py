"""Statistics of activations in small chunks of images: adding counts gives every sub-sample."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.evaluate import Data
from analysis.network import Network
from quant.config import QuantConfig
from quant.errors import CalibrationError
from quant.graph.layers import is_input_name
from quant.inputs import arrange_batch, sample_count
from quant.progress import Progress, Steps
from quant.ranges.statistics import Statistics
from quant.simulation.plan import Side, plan_sites
from quant.simulation.quant_graph import QuantGraph

CHUNK = 8
"""Images in a chunk: the batch that is fastest an image, too (architecture.md)."""


class _ImageLimits(Statistics):
    """Statistics of one chunk with the limits of each image.

    `limits` holds a (lows, highs) pair of (N,) for each call, or nothing if the first axis does not
    count images.
    """

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images
        self.limits: tuple[Tensor, Tensor] | None = None

    def collect(self, x: Tensor) -> None:
        """Add values of shape (N, ...)."""
        super().collect(x)
        if x.dim() > 1 and len(x) == self.images:
            axes = tuple(range(1, x.dim()))
            self.limits = x.detach().amin(axes).float(), x.detach().amax(axes).float()


@dataclass(frozen=True, eq=False, slots=True)
class SiteChunks:
    """One site's statistics over C chunks, on one scale of bins.

    Attributes:
        counts: values in each bin of each chunk, (C, bins), float32 integers.
        first: the place of the first bin in the whole histogram.
        exponent: exponent of the width of a bin, as in `Statistics`.
        low, high: limits of each chunk, (C,).
        count, zeros: numbers of values, and of zeros, of each chunk, (C,).
        image_low, image_high: limits of each image, (N,); empty if unknown.
    """

    counts: Tensor
    first: int
    exponent: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.int64]
    zeros: NDArray[np.int64]
    image_low: NDArray[np.float64]
    image_high: NDArray[np.float64]

    def subset(self, chunks: Sequence[int]) -> Statistics:
        """Return the statistics of a subset of chunks, equal to one pass over the images."""
        chosen = list(chunks)
        empty = Statistics()
        counts = empty.counts.clone()
        total = self.counts[chosen].double().sum(0).long()
        counts[self.first : self.first + len(total)] = total
        return Statistics(
            count=int(self.count[chosen].sum()),
            zeros=int(self.zeros[chosen].sum()),
            low=float(self.low[chosen].min()),
            high=float(self.high[chosen].max()),
            exponent=self.exponent,
            counts=counts,
        )


@dataclass(frozen=True, eq=False, slots=True)
class ChunkedCalibration:
    """Statistics of the sites in chunks of `chunk_images` images; `indices` are the images."""

    sites: dict[str, SiteChunks]
    chunks: int
    chunk_images: int
    indices: tuple[int, ...]

    @property
    def images(self) -> int:
        """The number of images in the chunks."""
        return self.chunks * self.chunk_images


def calibrate_in_chunks(network: Network, data: Data) -> Steps[ChunkedCalibration]:
    """Collect statistics of the activations in one pass over `data`, a chunk at a time.

    Images beyond the last full chunk are left out.

    Raises:
        CalibrationError: there are fewer than two chunks, or an activation is not finite.
    """
    size = network.graph.batch or CHUNK
    if len(data) < 2 * size:
        raise CalibrationError(
            f"The question of how many {network.noun}s are enough needs at least {2 * size}; got "
            f"{len(data)}. Allow more for calibration."
        )
    graph = QuantGraph(network.graph, plan_sites(network.graph, QuantConfig()))
    names = [site.name for site in graph.sites if site.side is Side.ACTIVATIONS]
    chunks: dict[str, list[_ImageLimits]] = {name: [] for name in names}
    indices: list[int] = []
    with graph.collecting_statistics():
        for batch in data.batches(size):
            if sample_count(batch.inputs) != size:
                break
            for name in names:
                chunks[name].append(_ImageLimits(size))
                graph.quantizers[name].statistics = chunks[name][-1]
            with torch.inference_mode():
                graph(arrange_batch(batch.inputs))
            indices += batch.indices
            yield Progress(len(indices) / len(data), f"Calibrating: {len(indices)} {network.noun}s")
    sites = {name: _join(parts) for name, parts in chunks.items()}
    return ChunkedCalibration(sites, len(indices) // size, size, tuple(indices))


def _join(parts: Sequence[_ImageLimits]) -> SiteChunks:
    """Bring the chunks of one site to one scale of bins and cut empty bins off."""
    exponent = max(part.exponent for part in parts)
    empty = Statistics(exponent=exponent)
    # merging with empty statistics of a larger exponent coarsens the bins
    counts = torch.stack([part.merge(empty).counts for part in parts])
    filled = counts.any(0).nonzero().flatten()
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
    known = all(part.limits is not None for part in parts)
    pairs = [part.limits for part in parts if part.limits is not None] if known else []
    return SiteChunks(
        counts=counts[:, first : last + 1].float(),
        first=first,
        exponent=exponent,
        low=np.array([part.low for part in parts]),
        high=np.array([part.high for part in parts]),
        count=np.array([part.count for part in parts]),
        zeros=np.array([part.zeros for part in parts]),
        image_low=_joined([pair[0] for pair in pairs]),
        image_high=_joined([pair[1] for pair in pairs]),
    )


def _joined(parts: Sequence[Tensor]) -> NDArray[np.float64]:
    return torch.cat(list(parts)).double().numpy() if parts else np.zeros(0)


def data_sites(network: Network, config: QuantConfig) -> Iterator[str]:
    """Yield the names of the activation sites with a range from images."""
    for site in plan_sites(network.graph, config):
        free = site.spec.is_float or site.shared_with is not None or site.limits is not None
        if site.side is Side.ACTIVATIONS and not free and not is_input_name(site.layer):
            yield site.name
