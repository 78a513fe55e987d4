"""Predicts unmeasured configurations from sweeps, under several recipes, and from earlier runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.mixed_precision.pareto_front import Measured
from analysis.mixed_precision.proposal import Proposal
from analysis.mixed_precision.recipe_noise import RecipeNoise
from analysis.network import Network
from analysis.prediction.noise_table import UNKNOWN_SUM, NoiseSum, NoiseTable, build_noise_table
from analysis.prediction.predictor import Prediction, Predictor, predictor_from_sweep
from analysis.runs.apply_recipe import title_of_pass
from analysis.runs.experiment_file import recipe_from_titles
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
from quant.passes.adaround import AdaRound
from quant.passes.recipe import Recipe
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.spec import Granularity

ENOUGH = 3  # measured points that a loss needs: one or two make no curve
PLAIN_BITS = 8  # placeholder where only the bits may differ
Titles = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Foresight:
    """Predicts configurations that differ from `config` only in bits and granularities.

    `tables` hold the noise of each layer alone, by recipe. `measured` holds the runs behind the
    predictor, the oldest first, with the prediction made before the run: the differences between
    prediction and run are the errors of prediction. `rounded` are runs of a recipe followed by
    AdaRound; AdaRound is not predicted.
    """

    network: Network
    config: QuantConfig
    sensitivity: Sensitivity
    tables: Mapping[Recipe, NoiseTable]
    predictor: Predictor
    measured: tuple[Measured, ...] = ()
    rounded: tuple[Measured, ...] = ()

    @property
    def tells_loss(self) -> bool:
        """Whether enough measured points exist to predict a loss of accuracy."""
        return self.predictor.measured_count >= ENOUGH

    def summed_noise(self, config: QuantConfig, recipe: Recipe = ()) -> NoiseSum:
        """Return the sum over the layers; nan for an unknown layer or for other settings."""
        table = self.tables.get(recipe)
        if table is None or config_without_choices(self.network, config) != self.config:
            return UNKNOWN_SUM
        try:
            return table.sum_cells(cells_of_config(config, self.network.graph))
        except QuantError:
            return UNKNOWN_SUM

    def predict_config(self, config: QuantConfig, recipe: Recipe = ()) -> Prediction | None:
        """Return the prediction for a configuration, or None for an unknown layer."""
        summed = self.summed_noise(config, recipe)
        return self.predictor.predict_network(summed) if math.isfinite(summed.energy) else None


def learn_forecast(
    noises: Sequence[RecipeNoise], runs: Iterable[Run], data_digest: str
) -> Foresight:
    """Learn from sweeps, then from the runs of the network on the data, the oldest run first.

    `noises` belong to the recipes in the search; the first gives the network and the sweep's
    losses. `runs` come in the order of a store, the newest first. Skipped are runs under other
    recipes, runs with other settings, runs at bits outside the sweep, and older runs with equal
    bits and recipe.

    Raises:
        QuantError: a sweep did not quantize each layer alone in a float network.
    """
    network, sensitivity = noises[0].network, noises[0].sensitivity
    config = config_without_choices(network, sensitivity.sweep.config)
    first = predictor_from_sweep(sensitivity, network.chance)
    tables = {
        noise.recipe: build_noise_table(
            noise.network.graph, *noise.others, noise.sensitivity, trials=noise.trials
        )
        for noise in noises
    }
    forecast = Foresight(network, config, sensitivity, tables, first)
    for run, run_config, recipe in _usable_runs(forecast, runs, data_digest):
        summed = forecast.summed_noise(run_config, _predicted_recipe(recipe))
        prediction = forecast.predictor.predict_network(summed)
        proposal = Proposal(run.name, run_config, summed, prediction, run.cost, recipe=recipe)
        one = Measured(proposal, run)
        if recipe not in tables:
            forecast = replace(forecast, rounded=(*forecast.rounded, one))
            continue
        predictor = forecast.predictor.learn_measurement(summed, run.evaluation)
        forecast = replace(forecast, predictor=predictor, measured=(*forecast.measured, one))
    return forecast


def _predicted_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe without learned rounding, which is not predicted."""
    return tuple(step for step in recipe if not isinstance(step, AdaRound | Reconstruct))


def config_without_bits(network: Network, config: QuantConfig) -> QuantConfig:
    """Return the configuration at 8 bits everywhere; equal for configurations equal up to bits."""
    graph = network.graph
    return config_with_bits(config, graph, dict.fromkeys(parts_of_graph(graph), PLAIN_BITS))


def config_without_choices(network: Network, config: QuantConfig) -> QuantConfig:
    """Return the configuration with one width and one granularity of weights everywhere."""
    return config_at_granularity(config_without_bits(network, config), Granularity.PER_CHANNEL)


def _usable_runs(
    forecast: Foresight, runs: Iterable[Run], data_digest: str
) -> list[tuple[Run, QuantConfig, Recipe]]:
    """Return the usable runs, the newest for each choice of bits, the oldest first."""
    network = forecast.network
    by_cells: dict[tuple[tuple[Cell, ...], Recipe], tuple[Run, QuantConfig, Recipe]] = {}
    recipes = {_pass_titles(recipe): recipe for recipe in forecast.tables}
    # The sort is stable: runs of the same second keep the order of the store.
    newest = sorted(runs, key=lambda run: run.created, reverse=True)
    for run in newest[::-1]:
        if (run.model_digest, run.data_digest) != (network.digest, data_digest):
            continue
        recipe = _recipe_of(run, recipes)
        if recipe is None:
            continue
        try:
            config = config_from_dict(run.config)
            usable = math.isfinite(forecast.summed_noise(config, _predicted_recipe(recipe)).energy)
        except QuantError:
            continue  # the run comes from another version
        if usable:
            key = cells_of_config(config, network.graph), recipe
            by_cells.pop(key, None)  # reinsert, so that the newest comes last
            by_cells[key] = run, config, recipe
    return list(by_cells.values())


def _recipe_of(run: Run, recipes: Mapping[Titles, Recipe]) -> Recipe | None:
    """Return the recipe of a run if the search has the recipe, alone or before learned rounding."""
    if run.recipe in recipes:
        return recipes[run.recipe]
    *before, last = run.recipe or ("",)
    if tuple(before) in recipes and last.startswith(("AdaRound", "Reconstruct blocks")):
        return (*recipes[tuple(before)], *recipe_from_titles([last]))
    return None


def _pass_titles(recipe: Recipe) -> Titles:
    return tuple(title_of_pass(step) for step in recipe)
