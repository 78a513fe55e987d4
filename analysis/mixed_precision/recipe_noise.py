"""The noise after a recipe of repairs: sensitivities of the repaired network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from analysis.cost.workload import Entropies
from analysis.network import Network
from analysis.prediction.noise_table import Trials
from analysis.prediction.trial import ConfigTrial
from analysis.runs.apply_recipe import repair_float_network
from analysis.runs.experiment_file import pass_to_plain, recipe_from_plain
from analysis.sensitivity.screening.corrected_noise import corrected_shares, with_bias_corrected
from analysis.sensitivity.sweep import Sensitivity, Sweep, sweeps_of_granularities
from analysis.study import Study
from quant.assignment import Cell
from quant.graph.layer_pairs import Pair
from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.recipe import Recipe, is_float_pass
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.progress import Progress, Steps, part_of_progress
from quant.simulation.plan import Side
from quant.spec import Granularity

SWEEPS_SHARE = 0.8  # of the work on one recipe; bias correction is the rest
CORRECTED_IMAGES = 32  # on which the means of bias correction are predicted
Sweeping = Callable[[Study, Sweep], Steps[Sensitivity]]


class RecipeChoice(StrEnum):
    """A recipe of a search; `PRESENT` stands for the experiment's recipe."""

    NONE = "no repair"
    EQUALIZED = "equalized"
    CORRECTED = "equalized, biases corrected"
    PRESENT = "as the experiment"


RECIPES: dict[RecipeChoice, Recipe] = {
    RecipeChoice.NONE: (),
    RecipeChoice.EQUALIZED: (Equalize(),),
    RecipeChoice.CORRECTED: (Equalize(), CorrectBias()),
}
USUAL_CHOICES = tuple(RecipeChoice)
"""What takes part unless a person chooses: repairs without training, which take seconds."""


@dataclass(frozen=True, eq=False, slots=True)
class RecipeNoise:
    """A recipe, the network after the float passes, and the noise of each layer quantized alone.

    `others` are sensitivities of weights at other granularities. The sensitivities include bias
    correction, but no learned rounding: predictions describe networks without learned rounding.
    `entropies` caches the entropies of weights for machines that compress weights, `trials` the
    trials of whole configurations under the recipe.
    """

    recipe: Recipe
    network: Network
    sensitivity: Sensitivity
    others: tuple[Sensitivity, ...] = ()
    entropies: Entropies = field(default_factory=dict)
    trials: Trials = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """The stored trial of a whole configuration, which the cells tell."""

    cells: tuple[Cell, ...]
    trial: ConfigTrial


@dataclass(frozen=True, slots=True)
class RecipeNoiseRecord:
    """The stored noise under a recipe, with the trials; the recipe repairs the network again.

    `recipe` holds the repairs in the form of `pass_to_plain`.
    """

    recipe: tuple[dict[str, Any], ...]
    sensitivity: Sensitivity
    others: tuple[Sensitivity, ...] = ()
    trials: tuple[TrialRecord, ...] = ()


def record_noise(noise: RecipeNoise) -> RecipeNoiseRecord:
    """Return the storable record of the noise under a recipe."""
    recipe = tuple(map(pass_to_plain, noise.recipe))
    trials = tuple(TrialRecord(cells, trial) for cells, trial in tuple(noise.trials.items()))
    return RecipeNoiseRecord(recipe, noise.sensitivity, noise.others, trials)


def restore_noise(record: RecipeNoiseRecord, study: Study) -> RecipeNoise:
    """Return the noise of a record; `study` holds the network before repairs.

    Raises:
        ConfigError: a pass of the record is unreadable.
    """
    recipe = recipe_from_plain(list(record.recipe))
    network, entropies = study.network, study.weight_entropies
    if any(map(is_float_pass, recipe)):
        network, entropies = repair_float_network(study, recipe).network, {}
    trials = {one.cells: one.trial for one in record.trials}
    return RecipeNoise(recipe, network, record.sensitivity, record.others, entropies, trials)


def chosen_recipes(
    choices: Sequence[RecipeChoice], present: Recipe, pairs: Sequence[Pair]
) -> tuple[Recipe, ...]:
    """Return the recipes of the search without repetition; at least the empty recipe.

    Equalization is left out for a network without a pair to equalize, and learned rounding of the
    present recipe because the noise of learned rounding is not predicted.
    """
    recipes = [RECIPES.get(choice, present) for choice in choices]
    if not pairs:
        recipes = [_without_pass(recipe, Equalize, AbsorbBias) for recipe in recipes]
    recipes = [_without_pass(recipe, AdaRound, Reconstruct) for recipe in recipes]
    return tuple(dict.fromkeys(filter(is_predictable, recipes))) or ((),)


def _without_pass(recipe: Recipe, *kinds: type) -> Recipe:
    return tuple(step for step in recipe if not isinstance(step, kinds))


def is_predictable(recipe: Recipe) -> bool:
    """Whether screening predicts the noise under a recipe: no learned rounding or training."""
    return all(isinstance(step, Equalize | AbsorbBias | CorrectBias) for step in recipe)


def repaired_study(study: Study, recipe: Recipe) -> Steps[Study]:
    """Return the calibrated study of the network after the float passes of a recipe."""
    passes = tuple(filter(is_float_pass, recipe))
    if not passes:
        yield from study.collect_statistics()
        return study
    yield Progress(0.0, "Repairing the float network")
    repaired = study.repaired_study(passes, lambda: repair_float_network(study, passes))
    yield from repaired.collect_statistics()
    return repaired


def measure_recipe_noise(
    repaired: Study,
    recipe: Recipe,
    own: Sweep,
    granularities: tuple[Granularity, ...] | None,
    sweeping: Sweeping,
) -> Steps[RecipeNoise]:
    """Return the noise under a recipe; `repaired` is the study of the repaired network.

    `sweeping` answers one sweep of a study: by screening, exactly, or from a store.
    """
    sweeps = (own, *sweeps_of_granularities(repaired.network.graph, own, granularities))
    corrected = any(isinstance(step, CorrectBias) for step in recipe)
    share = (SWEEPS_SHARE if corrected else 1.0) / len(sweeps)
    swept: list[Sensitivity] = []
    for place, sweep in enumerate(sweeps):
        steps = sweeping(repaired, sweep)
        swept.append((yield from part_of_progress(steps, share * place, share * (place + 1))))
    if corrected:
        left = (1.0 - SWEEPS_SHARE) / len(sweeps)
        few = repaired.with_scored_images(repaired.scored_images.first(CORRECTED_IMAGES))
        for place, known in enumerate(swept):
            sweep = replace(known.sweep, sides=(Side.WEIGHTS,))
            begun = SWEEPS_SHARE + left * place
            shares = yield from part_of_progress(corrected_shares(few, sweep), begun, begun + left)
            swept[place] = with_bias_corrected(known, shares)
    known, *others = swept
    return RecipeNoise(recipe, repaired.network, known, tuple(others), repaired.weight_entropies)
