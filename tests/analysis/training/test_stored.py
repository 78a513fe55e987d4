"""A trained experiment travels: through its file, a session, and a store of runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from accelerator.machine import load_preset
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import (
    ExperimentRecord,
    experiment_to_plain,
    read_experiment_json,
    record_of_run,
    write_experiment_json,
)
from analysis.session_file import (
    ModelReference,
    Session,
    SessionError,
    read_session_file,
    write_session_json,
)
from analysis.training.stored import (
    TrainingFiles,
    open_stored_training,
    read_training_files,
    trainings_in_folder,
    write_training_files,
)
from quant.errors import ConfigError
from quant.training.settings import TrainingError
from quant.training.state.use_training import UseTraining
from tests.analysis.results import layer_cost, report, run
from tests.analysis.training.tasks import trained


def experiment() -> Experiment:
    outcome = trained()
    step = UseTraining(outcome.state, outcome.task.stored_name)
    return Experiment(outcome.task.config, load_preset("edge_systolic_8b"), (step,))


def files() -> TrainingFiles:
    found = read_training_files(trained().task.folder, trained().task.stored_name)
    assert found is not None
    return found


def digest_of(record: ExperimentRecord) -> str:
    (step,) = record.experiment.recipe
    assert isinstance(step, UseTraining)
    return step.state.digest


def test_a_file_names_the_training_and_the_folder_gives_its_weights() -> None:
    text = write_experiment_json(experiment())
    assert len(text) < 20_000  # the weights are no part of it
    record = read_experiment_json(text, trainings=trainings_in_folder(trained().task.folder))
    assert digest_of(record) == trained().state.digest
    kept = replace(
        run("one", report(layer_cost("a"))), experiment=experiment_to_plain(experiment())
    )
    again = record_of_run(kept, trainings_in_folder(trained().task.folder))
    assert digest_of(again) == trained().state.digest
    with pytest.raises(ConfigError, match="Name the training with --trained"):
        read_experiment_json(text)


def test_a_missing_or_another_training_is_told(tmp_path: Path) -> None:
    text = write_experiment_json(experiment())
    with pytest.raises(TrainingError, match="which is not in"):
        read_experiment_json(text, trainings=trainings_in_folder(tmp_path))
    plain = json.loads(text)
    plain["recipe"][0]["digest"] = "0" * 64
    with pytest.raises(TrainingError, match="the file has others"):
        read_experiment_json(
            json.dumps(plain), trainings=trainings_in_folder(trained().task.folder)
        )


def test_a_session_carries_the_weights_to_another_folder(tmp_path: Path) -> None:
    name = trained().task.stored_name
    made = Session(
        ModelReference("letter-mlp", "m", "letter-mlp"),
        None,
        ExperimentRecord(experiment()),
        trainings={name: files()},
    )
    found = read_session_file(write_session_json(made).encode())
    assert digest_of(found.record) == trained().state.digest
    write_training_files(tmp_path, name, found.trainings[name])
    stored = open_stored_training(tmp_path, name)
    assert stored.state.digest == trained().state.digest
    assert stored.config == trained().task.config
    assert stored.seed == 0


def test_a_session_with_a_damaged_training_is_refused(tmp_path: Path) -> None:
    name = trained().task.stored_name
    made = Session(
        ModelReference("letter-mlp", "m", "letter-mlp"), None, ExperimentRecord(experiment())
    )
    text = write_session_json(made)
    with pytest.raises(SessionError, match="does not carry it"):
        read_session_file(text.encode())
    plain = json.loads(text)
    plain["trainings"] = {name: {"state": "no base64!", "question": "{}"}}
    with pytest.raises(SessionError, match="state in base64"):
        read_session_file(json.dumps(plain).encode())
    with pytest.raises(TrainingError, match="letters and digits"):
        write_training_files(tmp_path, "../out", files())
    with pytest.raises(TrainingError, match="cannot be read"):
        write_training_files(tmp_path, "name", TrainingFiles(b"no state", "{}"))
    assert not list(tmp_path.iterdir())
