"""Trials of configurations: against a whole measurement, kept by the noise, used by the choice."""

from dataclasses import replace
from functools import cache

import pytest

from accelerator.machine import load_preset
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.choices import Rules
from analysis.mixed_precision.forecast import learn_forecast
from analysis.mixed_precision.pareto_front import Front, find_pareto_front, measure_proposals
from analysis.mixed_precision.pareto_record import FrontRecord, record_front, restore_front
from analysis.mixed_precision.proposal import BudgetError
from analysis.mixed_precision.recipe_noise import (
    RecipeNoiseRecord,
    measure_recipe_noise,
    record_noise,
    repaired_study,
    restore_noise,
)
from analysis.mixed_precision.recipe_search import RecipeSearch
from analysis.mixed_precision.try_configs import (
    cheapest_choice_after_trials,
    cheapest_tried_choice,
    choose_trial_images,
    try_cheapest_choice,
    try_front,
)
from analysis.network import forward_all_outputs
from analysis.prediction.predictor import Prediction
from analysis.runs.json_values import plain_from_result, result_from_plain
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.sweep import Sweep
from analysis.study import Study
from quant.config import uniform_config
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.recipe import Recipe
from quant.progress import drain_steps
from quant.simulation.plan import TENSOR_SIDES
from tests.analysis.sweeps import case

BITS = (8, 4, 2)
RECIPES: tuple[Recipe, ...] = ((), (Equalize(), CorrectBias()))


def study() -> Study:
    small = case("kitchen")
    return Study(small.network, small.data, small.data, calibrated=small.calibrated)


@cache
def tried() -> tuple[RecipeSearch, Front, Front]:
    """Return a search under two recipes, its front, and the front after trials."""
    whole, noises = study(), []
    for recipe in RECIPES:
        repaired = drain_steps(repaired_study(whole, recipe))
        own = Sweep(uniform_config(8, 8), BITS, TENSOR_SIDES)
        steps = measure_recipe_noise(repaired, recipe, own, None, screen_layers)
        noises.append(drain_steps(steps))
    search = RecipeSearch(noises, load_preset("bitfusion_like"), Rules(BITS))
    front = drain_steps(find_pareto_front(search, Quantity.ENERGY, 4))
    return search, front, drain_steps(try_front(whole, search, front))


def test_a_trial_on_all_images_is_the_measurement() -> None:
    """The case has 12 images, which a trial of 64 takes whole."""
    search, _, front = tried()
    found = drain_steps(measure_proposals(search, study(), front.proposals))
    assert {one.proposal.recipe for one in found}
    for one in found:
        trial = one.proposal.summed.trial
        assert trial is not None
        assert trial.images == one.run.evaluation.samples == 12
        assert trial.sqnr_db == pytest.approx(one.run.evaluation.sqnr_db, abs=1e-4)
        assert trial.changed == pytest.approx(1 - one.run.evaluation.agreement)


def test_a_front_after_trials_predicts_from_them() -> None:
    _, before, after = tried()
    assert [one.config for one in before.proposals] == [one.config for one in after.proposals]
    assert {one.prediction.tried for one in before.proposals} == {0}
    assert {one.prediction.tried for one in (*after.proposals, *after.references)} == {12}


def test_trials_are_kept_and_not_repeated() -> None:
    search, _, front = tried()
    trials = [dict(noise.trials) for noise in search.noises]
    assert sum(map(len, trials)) >= len(front.proposals)
    drain_steps(try_front(study(), search, front))
    assert [dict(noise.trials) for noise in search.noises] == trials


def test_a_stored_front_brings_its_trials() -> None:
    search, _, front = tried()
    record = record_front(front, "kitchen", "images", search.reference.cost)
    again = result_from_plain(FrontRecord, plain_from_result(record))
    fresh = [replace(noise, trials={}) for noise in search.noises]
    other = RecipeSearch(fresh, search.machine, Rules(BITS))
    restored = restore_front(again, other)
    assert [one.prediction.tried for one in restored.proposals] == [12] * len(front.proposals)
    assert sum(len(noise.trials) for noise in fresh) == sum(
        len(noise.trials) for noise in search.noises
    )


def test_a_forecast_learns_from_runs_of_tried_configurations() -> None:
    search, _, front = tried()
    (found,) = drain_steps(measure_proposals(search, study(), front.proposals[:1]))
    forecast = learn_forecast(search.noises, [found.run], study().scored_images.digest)
    assert [one.proposal.summed.trial for one in forecast.measured] == [
        front.proposals[0].summed.trial
    ]


def test_a_choice_that_a_trial_contradicts_does_not_stand() -> None:
    _, _, front = tried()
    noisy, *_, quiet = sorted(front.proposals, key=lambda one: -one.noise_energy_sum)

    def told(loss: float, images: int) -> Prediction:
        return replace(noisy.prediction, loss=loss, tried=images)

    bad = replace(noisy, prediction=told(0.5, 64))
    good = replace(quiet, prediction=told(0.001, 64))
    points = replace(front, proposals=(bad, good))
    untried = replace(noisy, name="by sum", prediction=told(0.002, 0))
    chosen = cheapest_tried_choice(untried, points, 0.01)
    assert chosen.name == good.name
    fine = replace(points, proposals=(good,))
    assert cheapest_tried_choice(untried, fine, 0.01).name == "by sum"
    none = replace(points, proposals=(bad,))
    with pytest.raises(BudgetError, match="keeps the bound"):
        cheapest_tried_choice(untried, none, 0.01)


def test_trials_go_on_until_a_tried_choice_stands() -> None:
    search, _, front = tried()
    assert search.predictor.tells_loss
    drain_steps(try_cheapest_choice(study(), search, front, 0.3))
    chosen = cheapest_choice_after_trials(search, front, 0.3)
    assert chosen.prediction.tried == 12
    assert chosen.prediction.loss is not None
    assert chosen.prediction.loss <= 0.3


def test_trials_of_a_noise_outlive_a_record() -> None:
    search, _, _ = tried()
    for noise in search.noises:
        record = plain_from_result(record_noise(noise))
        again = restore_noise(result_from_plain(RecipeNoiseRecord, record), study())
        assert again.trials == noise.trials
    assert any(noise.trials for noise in search.noises)


def test_trials_see_the_images_that_stand_for_all() -> None:
    """Of 100 images 64 are tried, each class with its share; the study keeps the choice."""
    small = case("kitchen", 100)
    whole = Study(small.network, small.data, small.data, calibrated=small.calibrated)
    chosen = drain_steps(choose_trial_images(whole))
    assert len(chosen.positions) == 64
    assert drain_steps(choose_trial_images(whole)) is chosen
    assert chosen.positions != tuple(range(64))
    (every,) = small.data.batches(100)
    answers = forward_all_outputs(small.network.graph, None, every.inputs)[0].argmax(1)
    assert every.labels is not None
    assert chosen.float_top1 == float((answers == every.labels).double().mean())
    few = drain_steps(choose_trial_images(study()))
    assert few.positions == tuple(range(len(study().scored_images)))
