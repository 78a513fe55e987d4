"""What a sweep and the runs so far say of a configuration that nobody has measured yet."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis.mixed_precision.pareto_front import Measured
from analysis.mixed_precision.proposal import Proposal
from analysis.network import Network
from analysis.prediction.noise_table import UNKNOWN, NoiseTable, Summed, noise_table
from analysis.prediction.predictor import Prediction, Predictor, first_predictor
from analysis.runs.run_store import Run
from analysis.sensitivity.sweep import Sensitivity
from quant.assignment import Cell, at_granularity, cells_of, parts_of, with_bits
from quant.config import QuantConfig, config_from_dict
from quant.errors import QuantError
from quant.spec import Granularity

ENOUGH = 3  # measured points below which a loss is not told: one or two make no curve
PLAIN_BITS = 8  # stands for all bits, where configurations may differ in bits alone


@dataclass(frozen=True, slots=True)
class Foresight:
    """Predicts configurations that differ from `config` in bits and granularities alone.

    `measured` holds the runs that taught it, the oldest first, each with the prediction made from
    the runs before it: what they differ by is how far predictions are off.
    """

    network: Network
    config: QuantConfig
    sensitivity: Sensitivity
    table: NoiseTable
    predictor: Predictor
    measured: tuple[Measured, ...] = ()

    @property
    def tells_loss(self) -> bool:
        """Whether enough was measured to tell how accuracy follows from noise."""
        return self.predictor.measured >= ENOUGH

    def summed(self, config: QuantConfig) -> Summed:
        """Return what the layers make together; nan where one is not known or grids differ."""
        if without_choices(self.network, config) != self.config:
            return UNKNOWN
        try:
            return self.table.sum_up(cells_of(config, self.network.graph))
        except QuantError:
            return UNKNOWN

    def predict(self, config: QuantConfig) -> Prediction | None:
        """Return what a configuration will do, or None where it cannot be said."""
        summed = self.summed(config)
        return self.predictor.predict(summed) if math.isfinite(summed.energy) else None


def foresee(
    network: Network,
    sensitivity: Sensitivity,
    runs: Iterable[Run],
    data_digest: str,
    others: Sequence[Sensitivity] = (),
) -> Foresight:
    """Learn from a sweep, then from each run of the network on that data, the oldest first.

    `runs` come as a store has them, the newest first. `others` know weights at other granularities,
    and nothing else is other in them. Left out are repaired runs, those of other grids, those of
    bits that the sweep lacks, and all but the newest of runs with equal bits.

    Raises:
        QuantError: the sweep did not judge each layer alone in a float network.
    """
    config = without_choices(network, sensitivity.sweep.config)
    first = first_predictor(sensitivity)
    table = noise_table(network.graph, *others, sensitivity)
    found = Foresight(network, config, sensitivity, table, first)
    for run, wish in _fitting(found, runs, data_digest):
        summed = found.summed(wish)
        said = found.predictor.predict(summed)
        one = Measured(Proposal(run.name, wish, summed, said, run.cost), run)
        taught = found.predictor.learned(summed, run.evaluation)
        found = replace(found, predictor=taught, measured=(*found.measured, one))
    return found


def without_bits(network: Network, config: QuantConfig) -> QuantConfig:
    """Return the configuration at 8 bits everywhere: equal for those that differ in bits alone."""
    graph = network.graph
    return with_bits(config, graph, dict.fromkeys(parts_of(graph), PLAIN_BITS))


def without_choices(network: Network, config: QuantConfig) -> QuantConfig:
    """Return the configuration with all bits and granularities of weights alike."""
    return at_granularity(without_bits(network, config), Granularity.PER_CHANNEL)


def _fitting(
    found: Foresight, runs: Iterable[Run], data_digest: str
) -> list[tuple[Run, QuantConfig]]:
    """Return runs that tell something, the newest of each choice of bits, the oldest first."""
    network = found.network
    kept: dict[tuple[Cell, ...], tuple[Run, QuantConfig]] = {}
    # the order that a store has stays where several were created in one second
    newest = sorted(runs, key=lambda run: run.created, reverse=True)
    for run in newest[::-1]:
        if (run.model_digest, run.data_digest) != (network.digest, data_digest) or run.recipe:
            continue
        try:
            config = config_from_dict(run.config)
            known = math.isfinite(found.summed(config).energy)
        except QuantError:
            continue  # written by another version
        if known:
            cells = cells_of(config, network.graph)
            kept.pop(cells, None)  # so that the newest stands last
            kept[cells] = run, config
    return list(kept.values())
