"""The options of an experiment: declared once, placed by name, and read together."""

import inspect
from pathlib import Path

import pytest

from commands.evaluate import evaluate_network
from commands.experiment.options import EXPERIMENT, ExperimentOptions, experiment_options
from commands.optimize import optimize_bits
from quant.errors import ConfigError


def test_all_options_of_an_experiment_follow_the_parameter_that_the_command_names() -> None:
    names = list(inspect.signature(evaluate_network).parameters)
    start = names.index("calibration") + 1
    assert tuple(names[start : start + len(EXPERIMENT)]) == EXPERIMENT
    assert "options" not in names


def test_a_command_has_only_the_options_that_it_names() -> None:
    names = list(inspect.signature(optimize_bits).parameters)
    assert names[:2] == ["model", "machine"]
    assert not {"weight_bits", "activation_bits", "encodings"} & set(names)


def test_a_command_gets_its_options_together_and_its_own_parameters_alone() -> None:
    got: list[object] = []

    @experiment_options(model=("seed", "config"))
    def command(*, options: ExperimentOptions, model: str) -> None:
        got.append((options, model))

    command(model="net", seed=3, config=None)
    assert got == [(ExperimentOptions(seed=3), "net")]


def test_an_option_behind_a_parameter_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="must name a parameter; got modle"):

        @experiment_options(modle=("seed",))
        def command(*, options: ExperimentOptions, model: str) -> None:
            del options, model


def test_bits_beside_a_file_of_an_experiment_are_refused() -> None:
    options = ExperimentOptions(experiment=None, weight_bits=4)
    assert options.names_config
    assert options.read_config().default.weight.bits == 4
    with pytest.raises(ConfigError, match="must come alone"):
        ExperimentOptions(experiment=Path("e.json"), weight_bits=4).read()
