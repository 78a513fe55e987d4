"""The names of root causes, and the facts about a site for the detectors."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from analysis.diagnosis.remedies import Remedy
from analysis.ranges.distributions import Channels, Distribution
from analysis.ranges.encoding_fit import Fit
from analysis.ranges.tensors import RangeBook
from quant.config import Resolved
from quant.graph.layer_pairs import Pair
from quant.graph.layers import Layer
from quant.simulation.plan import Side, Site

WIDE = 4.0
"""A channel of this many times the median is wide: 2 of 8 bits are lost on the others."""
RATIO = 8.0
"""From here on the widest channel costs the median channel 3 bits (see `findings`)."""
FEW_CHANNELS = 0.05
"""Up to this share of wide channels are outliers; more are unequal ranges (our choice)."""


class RootCause(StrEnum):
    """Why an encoding loses accuracy."""

    UNEQUAL_CHANNELS = "unequal channel ranges"
    OUTLIER_CHANNEL = "outlier channel"
    DEAD_CHANNEL = "nearly dead channel"
    FEW_WEIGHTS = "few weights per channel"
    FEW_CODES = "few codes used"
    CLIPPED_TAIL = "clipped tail"
    NEGATIVE_TAIL = "negative tail"
    UNBALANCED_INPUTS = "unbalanced inputs"
    SOFTMAX_ENCODING = "softmax or sigmoid encoding"
    NARROW_BESIDE_WIDE = "few bits beside more"
    LARGE_BIAS = "large bias after folding"
    ZERO_HEAVY = "mostly zeros"
    FEW_IMAGES = "too few calibration images"
    FEW_BITS = "few bits"


@dataclass(frozen=True, slots=True)
class SiteCause:
    """A cause at one site: `bits_lost` compares causes, `evidence` tells the measurements."""

    layer: str
    side: Side
    cause: RootCause
    evidence: str
    bits_lost: float
    remedy: Remedy


@dataclass(frozen=True, eq=False, slots=True)
class SiteFacts:
    """The facts for detectors: one site, the values, the fit of the encoding, the neighbours."""

    book: RangeBook
    site: Site
    layer: Layer
    values: Distribution
    fit: Fit
    chosen: Resolved
    pairs: tuple[Pair, ...]

    @property
    def side(self) -> Side:
        """The side of the site."""
        return self.site.side

    @property
    def begins_pair(self) -> bool:
        """Whether the layer's output channels can be rescaled."""
        return any(pair.first == self.layer.name for pair in self.pairs)

    @property
    def is_paired(self) -> bool:
        """Whether equalization can rescale channels of the layer's weight."""
        return any(self.layer.name in (pair.first, pair.second) for pair in self.pairs)

    def build_cause(
        self, cause: RootCause, evidence: str, bits_lost: float, remedy: Remedy
    ) -> SiteCause | None:
        """Return the cause, or None without lost bits."""
        if bits_lost <= 0:
            return None
        return SiteCause(self.layer.name, self.side, cause, evidence, bits_lost, remedy)


@dataclass(frozen=True, slots=True)
class ChannelSpread:
    """The inequality of channels: the widest over the median, and the number of wide channels.

    `deciles` is the channel range at 90 % over the channel range at 10 %.
    """

    widest: int
    ratio: float
    wide: int
    count: int
    deciles: float

    @property
    def has_outliers(self) -> bool:
        """Whether few channels are wide and the other channels are alike."""
        return self.ratio >= RATIO and self.wide <= max(1, FEW_CHANNELS * self.count)

    @property
    def is_unequal(self) -> bool:
        """Whether the ranges of a large part of the channels differ."""
        return not self.has_outliers and (self.ratio >= RATIO or self.deciles >= 2 * RATIO)


def channel_spread(channels: Channels) -> ChannelSpread:
    """Return how unequal the ranges of living channels are."""
    largest = channels.largest_by_channel
    alive = largest[channels.alive_channels]
    if len(alive) == 0:
        return ChannelSpread(0, 1.0, 0, 0, 1.0)
    median = float(np.median(alive))
    low, high = np.quantile(alive, [0.1, 0.9])
    return ChannelSpread(
        widest=int(np.argmax(largest)),
        ratio=channels.widest_to_median_ratio,
        wide=int((alive > WIDE * median).sum()),
        count=len(alive),
        deciles=float(high / low) if low > 0 else 1.0,
    )
