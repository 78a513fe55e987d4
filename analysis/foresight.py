"""What a sweep and the runs so far say of a configuration that nobody has measured yet."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from analysis.bit_wiring import Part, bits_of, parts_of, with_bits
from analysis.front import Measured
from analysis.network import Network
from analysis.noise import Noise, noise_energies, noise_of
from analysis.prediction import Prediction, Predictor, first_predictor
from analysis.proposal import Proposal
from analysis.questions import Sensitivity
from analysis.runs import Run
from quant.config import QuantConfig, config_from_dict
from quant.errors import QuantError

ENOUGH = 3  # measured points below which a loss is not told: one or two make no curve
PLAIN_BITS = 8  # stands for all bits, where configurations may differ in bits alone


@dataclass(frozen=True, slots=True)
class Foresight:
    """Predicts configurations that differ from `config` in bits alone.

    `measured` holds the runs that taught it, the oldest first, each with the prediction made from
    the runs before it: what they differ by is how far predictions are off.
    """

    network: Network
    config: QuantConfig
    sensitivity: Sensitivity
    noise: Noise
    predictor: Predictor
    measured: tuple[Measured, ...] = ()

    @property
    def tells_loss(self) -> bool:
        """Whether enough was measured to tell how accuracy follows from noise."""
        return len(self.predictor.points) >= ENOUGH

    def noise_at(self, config: QuantConfig) -> float:
        """Return the sum of noise energies; nan where one is not known or grids differ."""
        if without_bits(self.network, config) != self.config:
            return math.nan
        bits = bits_of(config, self.network.graph)
        try:
            return sum(noise_of(self.noise, part, width) for part, width in bits.items())
        except QuantError:
            return math.nan

    def predict(self, config: QuantConfig) -> Prediction | None:
        """Return what a configuration will do, or None where it cannot be said."""
        noise = self.noise_at(config)
        return self.predictor.predict(noise) if math.isfinite(noise) else None


def foresee(
    network: Network, sensitivity: Sensitivity, runs: Iterable[Run], data_digest: str
) -> Foresight:
    """Learn from a sweep, then from each run of the network on that data, the oldest first.

    Left out are repaired runs, those of other grids, those of bits that the sweep lacks, and all
    but the newest of runs with equal bits.

    Raises:
        QuantError: the sweep did not judge each layer alone in a float network.
    """
    config = without_bits(network, sensitivity.sweep.config)
    first = first_predictor(sensitivity)
    found = Foresight(network, config, sensitivity, noise_energies(sensitivity), first)
    for run, wish in _fitting(found, runs, data_digest):
        noise = found.noise_at(wish)
        said = found.predictor.predict(noise)
        one = Measured(Proposal(run.name, wish, noise, said, run.cost), run)
        taught = found.predictor.learned(noise, run.evaluation)
        found = replace(found, predictor=taught, measured=(*found.measured, one))
    return found


def without_bits(network: Network, config: QuantConfig) -> QuantConfig:
    """Return the configuration at 8 bits everywhere: equal for those that differ in bits alone."""
    graph = network.graph
    return with_bits(config, graph, dict.fromkeys(parts_of(graph), PLAIN_BITS))


def _fitting(
    found: Foresight, runs: Iterable[Run], data_digest: str
) -> list[tuple[Run, QuantConfig]]:
    """Return runs that tell something, the newest of each choice of bits, the oldest first."""
    network = found.network
    kept: dict[tuple[tuple[Part, int], ...], tuple[Run, QuantConfig]] = {}
    for run in sorted(runs, key=lambda run: run.created):
        if (run.model_digest, run.data_digest) != (network.digest, data_digest) or run.recipe:
            continue
        try:
            config = config_from_dict(run.config)
            known = math.isfinite(found.noise_at(config))
        except QuantError:
            continue  # written by another version
        if known:
            bits = tuple(bits_of(config, network.graph).items())
            kept.pop(bits, None)  # so that the newest stands last
            kept[bits] = run, config
    return list(kept.values())
