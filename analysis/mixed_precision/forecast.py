"""Predicts unmeasured configurations from a sweep and from earlier runs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis.mixed_precision.pareto_front import Measured
from analysis.mixed_precision.proposal import Proposal
from analysis.network import Network
from analysis.prediction.noise_table import UNKNOWN_SUM, NoiseSum, NoiseTable, build_noise_table
from analysis.prediction.predictor import Prediction, Predictor, predictor_from_sweep
from analysis.runs.run_store import Run
from analysis.sensitivity.sweep import Sensitivity
from quant.assignment import (
    Cell,
    cells_of_config,
    config_at_granularity,
    config_with_bits,
    parts_of_graph,
)
from quant.config import QuantConfig, config_from_dict
from quant.errors import QuantError
from quant.spec import Granularity

ENOUGH = 3  # measured points that a loss needs: one or two make no curve
PLAIN_BITS = 8  # placeholder where only the bits may differ


@dataclass(frozen=True, slots=True)
class Foresight:
    """Predicts configurations that differ from `config` only in bits and granularities.

    `measured` holds the runs behind the predictor, the oldest first, each with the prediction made
    before the run. The differences between prediction and run are the errors of prediction.
    """

    network: Network
    config: QuantConfig
    sensitivity: Sensitivity
    table: NoiseTable
    predictor: Predictor
    measured: tuple[Measured, ...] = ()

    @property
    def tells_loss(self) -> bool:
        """Whether enough measured points exist to predict a loss of accuracy."""
        return self.predictor.measured_count >= ENOUGH

    def summed_noise(self, config: QuantConfig) -> NoiseSum:
        """Return the sum over the layers; nan where a layer is unknown or other settings differ."""
        if config_without_choices(self.network, config) != self.config:
            return UNKNOWN_SUM
        try:
            return self.table.sum_cells(cells_of_config(config, self.network.graph))
        except QuantError:
            return UNKNOWN_SUM

    def predict_config(self, config: QuantConfig) -> Prediction | None:
        """Return the prediction for a configuration, or None where a layer is unknown."""
        summed = self.summed_noise(config)
        return self.predictor.predict_network(summed) if math.isfinite(summed.energy) else None


def learn_forecast(
    network: Network,
    sensitivity: Sensitivity,
    runs: Iterable[Run],
    data_digest: str,
    others: Sequence[Sensitivity] = (),
) -> Foresight:
    """Learn from a sweep, then from each run of the network on the data, the oldest run first.

    `runs` come in the order of a store, the newest first. `others` are sensitivities of weights at
    other granularities, equal to `sensitivity` in every other setting. Skipped are repaired runs,
    runs with other settings, runs at bits outside the sweep, and all but the newest run with equal
    bits.

    Raises:
        QuantError: the sweep did not quantize each layer alone in a float network.
    """
    config = config_without_choices(network, sensitivity.sweep.config)
    first = predictor_from_sweep(sensitivity)
    table = build_noise_table(network.graph, *others, sensitivity)
    forecast = Foresight(network, config, sensitivity, table, first)
    for run, run_config in _usable_runs(forecast, runs, data_digest):
        summed = forecast.summed_noise(run_config)
        prediction = forecast.predictor.predict_network(summed)
        one = Measured(Proposal(run.name, run_config, summed, prediction, run.cost), run)
        predictor = forecast.predictor.learn_measurement(summed, run.evaluation)
        forecast = replace(forecast, predictor=predictor, measured=(*forecast.measured, one))
    return forecast


def config_without_bits(network: Network, config: QuantConfig) -> QuantConfig:
    """Return the configuration at 8 bits everywhere; equal for configurations equal up to bits."""
    graph = network.graph
    return config_with_bits(config, graph, dict.fromkeys(parts_of_graph(graph), PLAIN_BITS))


def config_without_choices(network: Network, config: QuantConfig) -> QuantConfig:
    """Return the configuration with one width and one granularity of weights everywhere."""
    return config_at_granularity(config_without_bits(network, config), Granularity.PER_CHANNEL)


def _usable_runs(
    forecast: Foresight, runs: Iterable[Run], data_digest: str
) -> list[tuple[Run, QuantConfig]]:
    """Return the usable runs, the newest for each choice of bits, the oldest first."""
    network = forecast.network
    by_cells: dict[tuple[Cell, ...], tuple[Run, QuantConfig]] = {}
    # The sort is stable: runs of the same second keep the order of the store.
    newest = sorted(runs, key=lambda run: run.created, reverse=True)
    for run in newest[::-1]:
        if (run.model_digest, run.data_digest) != (network.digest, data_digest) or run.recipe:
            continue
        try:
            config = config_from_dict(run.config)
            usable = math.isfinite(forecast.summed_noise(config).energy)
        except QuantError:
            continue  # the run comes from another version
        if usable:
            cells = cells_of_config(config, network.graph)
            by_cells.pop(cells, None)  # reinsert, so that the newest comes last
            by_cells[cells] = run, config
    return list(by_cells.values())
