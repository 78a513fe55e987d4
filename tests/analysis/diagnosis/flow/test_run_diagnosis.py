"""The flow on networks whose fault is known: what it names, what it tries, where it stops."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from accelerator.machine import load_preset
from analysis.diagnosis.flow.contents import Diagnosis, FlowStage, StepOutcome
from analysis.diagnosis.flow.goal import Goal
from analysis.diagnosis.flow.run_diagnosis import DiagnosisTask, run_diagnosis
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import read_experiment_json, write_experiment_json
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import RunStore
from analysis.study import Study
from data_io.arrays import ArraySource
from data_io.bundled import fashion_test_set, fashion_train_part, letter_test, letter_train
from data_io.dataset import Dataset
from data_io.preprocessing import Preprocess
from quant.config import QuantConfig, uniform_config
from quant.passes.equalize import Equalize
from quant.progress import drain_steps
from quant.simulation.plan import Side
from quant.spec import Granularity
from tests.sample_networks import sample_network

PER_TENSOR = uniform_config(8, 8, Granularity.PER_TENSOR)


def study_of(name: str, images: int = 200) -> Study:
    letters = name == "letter-mlp"
    scored = (letter_test() if letters else fashion_test_set()).sample(images)
    seen = (letter_train() if letters else fashion_train_part()).sample(32)
    return Study(sample_network(name), scored, seen)


def experiment(config: QuantConfig) -> Experiment:
    return Experiment(config, load_preset("edge_systolic_8b"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def unequal(store: RunStore) -> Diagnosis:
    study = study_of("fashion-mobilenet-imbalanced")
    task = DiagnosisTask(study, experiment(PER_TENSOR), Goal(4.0), store)
    return drain_steps(run_diagnosis(task))


def test_unequal_channels_are_named_and_equalized(unequal: Diagnosis) -> None:
    assert unequal.met
    assert [type(step) for step in unequal.experiment.recipe] == [Equalize]
    weights = [one for one in unequal.causes if one.side is Side.WEIGHTS]
    assert {one.cause for one in weights} == {"unequal channel ranges"}
    spoilt = {f"blocks.{n}.{part}.0" for n in range(1, 8) for part in ("expand", "depthwise")}
    assert spoilt <= {one.layer for one in weights}
    assert unequal.causes[0].remedy == "Equalize across layers"
    assert unequal.causes[0].points is not None
    assert unequal.causes[0].points > 5


def test_each_box_has_a_loss_with_interval_and_the_order_is_the_papers(unequal: Diagnosis) -> None:
    names = [step.name for step in unequal.steps]
    assert names[:5] == [
        "Float network",
        "Everything at 32 bits",
        "As configured",
        "Weights alone",
        "Activations alone",
    ]
    assert list(dict.fromkeys(step.stage for step in unequal.steps)) == [
        FlowStage.FLOAT,
        FlowStage.SIDES,
        FlowStage.LAYERS,
        FlowStage.REPAIR,
    ]
    measured = [step for step in unequal.steps if step.loss is not None]
    assert len(measured) >= 5
    for step in measured:
        assert step.loss is not None
        assert step.loss.interval.low <= step.loss.points <= step.loss.interval.high
    assert unequal.steps[-1].outcome is StepOutcome.PASSED


def test_the_chosen_experiment_measures_the_same_elsewhere(unequal: Diagnosis) -> None:
    found = read_experiment_json(write_experiment_json(unequal.experiment)).experiment
    run = drain_steps(measure_experiment(study_of("fashion-mobilenet-imbalanced"), found))
    assert unequal.run is not None
    assert run.evaluation == unequal.run.evaluation


def test_each_step_is_a_named_run_and_a_second_flow_finds_them(
    unequal: Diagnosis, store: RunStore
) -> None:
    kept = {run.id: run.name for run in store.all_runs()}
    steps = [step for step in unequal.steps if step.run]
    assert {kept[step.run] for step in steps} >= {
        "Diagnose: as configured",
        "Diagnose: weights alone",
        "Diagnose: Equalize across layers",
    }
    study = study_of("fashion-mobilenet-imbalanced")
    again = drain_steps(
        run_diagnosis(DiagnosisTask(study, experiment(PER_TENSOR), Goal(4.0), store))
    )
    assert all(step.resumed for step in again.steps if step.run)
    assert len(store.all_runs()) == len(kept)
    assert (again.met, again.experiment) == (unequal.met, unequal.experiment)


def test_a_network_that_keeps_the_goal_needs_no_repair() -> None:
    found = drain_steps(
        run_diagnosis(DiagnosisTask(study_of("letter-mlp"), experiment(uniform_config(8, 8))))
    )
    assert found.met or found.steps[2].outcome is not StepOutcome.FAILED
    assert found.experiment.config == uniform_config(8, 8)


def test_what_no_recipe_keeps_is_said_with_the_nearest() -> None:
    study = Study(
        sample_network("letter-mlp"), letter_test().sample(200), letter_train().sample(64)
    )
    task = DiagnosisTask(study, experiment(uniform_config(2, 2)), Goal(0.0), rounding_iterations=50)
    found = drain_steps(run_diagnosis(task))
    assert not found.met
    names = [step.name for step in found.steps if step.stage is FlowStage.FEW]
    assert names[:4] == [
        "8 bits for the first layer",
        "8 bits for the head",
        "8 bits for the first layer and the head",
        "Float for the first layer and the head",
    ]
    forecast = found.steps[-1]
    assert forecast.name == "Forecast of training"
    assert forecast.sentence in found.advice
    assert "raining" in forecast.sentence
    assert "16 watched answers" in forecast.sentence or "not expected" in forecast.sentence
    assert found.sentence.startswith("No recipe here keeps 0 points; nearest is ")
    losses = [
        step.loss.interval.high
        for step in found.steps
        if step.loss and step.stage in (FlowStage.REPAIR, FlowStage.FEW)
    ]
    assert found.run is not None
    assert found.run.evaluation.top1_drop_ci95 is not None
    assert 100 * found.run.evaluation.top1_drop_ci95.high == pytest.approx(min(losses))
    tried = [step.name for step in found.steps if step.stage is FlowStage.REPAIR]
    assert tried[-1] == "Reconstruct blocks"  # two bits: tried last, as the slowest
    assert "bits for all" in found.advice
    assert "Train" in found.advice


def test_wrong_labels_stop_the_flow_at_the_float_network() -> None:
    (batch,) = letter_test().sample(200).batches(200)
    assert batch.labels is not None
    assert isinstance(batch.inputs, torch.Tensor)
    labels = (batch.labels + 3) % 26
    source = ArraySource(batch.inputs.numpy(), labels.numpy(), Preprocess())
    shifted = Dataset(
        "shifted",
        source,
        tuple(range(200)),
        labelled=True,
        class_names=(),
        source_digest=lambda: "shifted",
    )
    study = Study(sample_network("letter-mlp"), shifted, letter_train().sample(32))
    found = drain_steps(run_diagnosis(DiagnosisTask(study, experiment(uniform_config(8, 8)))))
    assert not found.met
    assert found.run is None
    assert found.steps[0].outcome is StepOutcome.FAILED
    assert "Nothing can be judged" in found.sentence
    assert "another order" in found.sentence


def test_a_flow_that_was_ended_goes_on_where_it_was(tmp_path: Path) -> None:
    store, study = RunStore(tmp_path), study_of("letter-mlp")
    task = DiagnosisTask(
        study, experiment(uniform_config(4, 4)), Goal(0.0), store, rounding_iterations=50
    )
    steps: Iterator[object] = run_diagnosis(task)
    while len(task.board) < 4:
        next(steps)
    again = DiagnosisTask(
        study_of("letter-mlp"),
        experiment(uniform_config(4, 4)),
        Goal(0.0),
        store,
        rounding_iterations=50,
    )
    found = drain_steps(run_diagnosis(again))
    assert [step.resumed for step in found.steps if step.run][:3] == [True, True, True]
    assert not found.steps[-1].resumed
