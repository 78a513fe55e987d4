"""Statistics of activations, the source of activation ranges."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from analysis.evaluation.evaluate import Data
from analysis.network import Network
from quant.config import QuantConfig
from quant.errors import CalibrationError
from quant.graph.layers import is_input_name
from quant.inputs import Inputs, arrange_batch, sample_count
from quant.passes.calibrate import Calibrate, Calibration
from quant.progress import Steps
from quant.ranges.statistics import Statistics
from quant.spec import Estimator


@dataclass(frozen=True, eq=False, slots=True)
class Calibrated:
    """The statistics for activation ranges.

    `statistics` by site come from `images` images; `input_range` bounds the network's input by the
    preprocessing, for ranges without data.
    """

    statistics: Calibration = field(default_factory=dict)
    images: int = 0
    input_range: tuple[float, float] | None = None
    _digests: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def statistics_digest(self, site: str) -> str:
        """Return a digest of the statistics behind the encoding of `site`."""
        statistics = self.statistics.get(site)
        if statistics is None:
            return repr(self.input_range)
        if site not in self._digests:
            self._digests[site] = _digest_of_statistics(statistics)
        return self._digests[site]


def _digest_of_statistics(statistics: Statistics) -> str:
    limits = (statistics.count, statistics.zeros, statistics.low, statistics.high)
    digest = hashlib.sha256(repr((limits, statistics.exponent)).encode())
    digest.update(statistics.counts.contiguous().numpy().data)
    if statistics.rows is not None:
        digest.update(statistics.rows.contiguous().numpy().data)
    return digest.hexdigest()[:32]


def calibrate_network(
    network: Network, data: Data, input_range: tuple[float, float] | None = None
) -> Steps[Calibrated]:
    """Collect the statistics of the activations from the images of `data`.

    Raises:
        CalibrationError: there is no image, fewer than the network's fixed batch, or an activation
            is not finite.
    """
    size = network.forward_batch_size
    used = 0

    def inputs() -> Iterator[Inputs]:
        nonlocal used
        for batch in data.batches(size):
            whole = network.graph.batch is None or sample_count(batch.inputs) == size
            if whole:  # a network of fixed batch cannot take the remainder
                used += sample_count(batch.inputs)
                yield arrange_batch(batch.inputs)

    statistics = yield from Calibrate(len(data))(network.graph, inputs())
    if used == 0:
        least = network.graph.batch or 1
        raise CalibrationError(
            f"Calibration needs at least {least} {network.noun}s; got {len(data)}. Allow more."
        )
    return Calibrated(statistics, used, input_range)


def config_needs_data(network: Network, config: QuantConfig) -> bool:
    """Whether an activation's range needs calibration on images."""
    chosen = config.resolve_layers(network.graph.layers)
    return any(
        not chosen[name].activation.is_float
        and chosen[name].activation.estimator is not Estimator.BATCH_NORM
        for name in chosen
        if not is_input_name(name)
    )
