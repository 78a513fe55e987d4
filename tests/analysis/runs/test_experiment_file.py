"""An experiment's file: what is written is read, what is no experiment is refused in a sentence."""

import json
from dataclasses import replace
from typing import Any

import pytest

from accelerator.machine import load_preset
from analysis.runs.apply_recipe import title_of_pass
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import (
    EncodingsReference,
    experiment_to_plain,
    is_experiment_json,
    read_experiment_json,
    recipe_from_titles,
    record_of_run,
    write_experiment_json,
)
from quant.config import uniform_config
from quant.errors import ConfigError, QuantError
from quant.file_encodings import Given
from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.methods import Method, Reach
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.spec import SpecChange
from tests.analysis.results import layer_cost, report, run

MACHINE = load_preset("bitfusion_like")
CONFIG = uniform_config(4, 8).with_layer_change("first", weight=SpecChange(bits=8))
RECIPE = (
    Equalize(replace_relu6=True, reach=Reach.RMS),
    AbsorbBias(from_data=True),
    CorrectBias(Method.ANALYTIC),
    AdaRound(iterations=77),
    Reconstruct(iterations=33, output_steps=7),
)
EXPERIMENT = Experiment(CONFIG, MACHINE, RECIPE, given_name="mine", seed=5).on_model_and_data(
    "m" * 64, "d" * 64
)


def test_what_is_written_is_read_again() -> None:
    record = read_experiment_json(write_experiment_json(EXPERIMENT))
    assert record.experiment == EXPERIMENT
    assert record.encodings is None


def test_a_machine_of_ones_own_and_encodings_travel_with_it() -> None:
    given = Given("mine.encodings", CONFIG, {}, text="{}")
    own = replace(EXPERIMENT, machine=replace(MACHINE, name="my own"), encodings=given)
    record = read_experiment_json(write_experiment_json(own))
    assert record.experiment == replace(own, encodings=None)
    assert record.encodings == EncodingsReference("mine.encodings", "{}")
    assert record.with_encodings(given) == own


def test_an_answer_that_holds_one_is_read_too() -> None:
    text = json.dumps({"model": "net", "experiment": experiment_to_plain(EXPERIMENT)})
    assert read_experiment_json(text).experiment == EXPERIMENT


def test_a_configuration_of_today_is_an_experiment_without_repairs() -> None:
    text = json.dumps(CONFIG.to_dict())
    assert read_experiment_json(text, MACHINE).experiment == Experiment(CONFIG, MACHINE)
    with pytest.raises(ConfigError, match="must be JSON with"):
        read_experiment_json(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "must be of version 1; got 2"),
        ({"recipe": 3}, "must be a list of passes"),
        ({"recipe": [{"pass": "magic"}]}, "one of equalize"),
        ({"recipe": [{"pass": "adaround", "iterations": "many"}]}, "adaround cannot be read"),
        ({"recipe": [{"pass": "correct-bias"}, {"pass": "equalize"}]}, "must come before"),
        ({"machine": "no such"}, "must be one of"),
        ({"machine": 3}, "must be one of"),
        ({"config": {"default": {"weight": {"bits": 99}}}}, "bits must lie"),
        ({"seed": "one"}, "must be a whole number"),
        ({"name": 7}, "name must be text"),
        ({"encodings": {"source": 1}}, "encodings cannot be read"),
    ],
)
def test_a_value_that_cannot_be_is_named(changes: dict[str, Any], said: str) -> None:
    plain = {**experiment_to_plain(EXPERIMENT), **changes}
    with pytest.raises(QuantError, match=said):
        read_experiment_json(json.dumps(plain))


@pytest.mark.parametrize(
    "text", ["", "[", "3", "[]", "{}", "[" * 100_000, '{"format": 1, "format": 2}']
)
def test_what_is_no_experiment_is_refused(text: str) -> None:
    assert not is_experiment_json(text)
    with pytest.raises(ConfigError, match="must be JSON"):
        read_experiment_json(text, MACHINE)


def test_a_run_is_loaded_with_its_repairs() -> None:
    measured = replace(
        run("twelve", report(layer_cost("a")), config=CONFIG.to_dict()),
        experiment=experiment_to_plain(EXPERIMENT),
    )
    assert record_of_run(measured).experiment == replace(EXPERIMENT, given_name="twelve")


def test_a_run_of_an_older_version_tells_its_repairs_by_their_titles() -> None:
    titles = tuple(title_of_pass(step) for step in RECIPE)
    assert recipe_from_titles(titles) == RECIPE
    costs = replace(report(layer_cost("a")), machine="bitfusion_like")
    old = replace(run("old", costs, config=CONFIG.to_dict()), recipe=titles)
    experiment = record_of_run(old).experiment
    assert (experiment.recipe, experiment.machine, experiment.display_name) == (
        RECIPE,
        MACHINE,
        "old",
    )
    with pytest.raises(ConfigError, match="known passes"):
        recipe_from_titles(("Magic",))
