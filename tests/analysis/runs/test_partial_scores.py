"""A score that was ended early goes on by image, and is the same to the last bit."""

from pathlib import Path

import pytest

import analysis.evaluation.forwards as module
from analysis.network import forward_all_outputs
from analysis.runs.experiment import Experiment
from analysis.runs.partial_scores import FILE, PartialScores
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run, RunStore
from analysis.study import Study
from quant.config import uniform_config
from quant.progress import Steps, drain_steps
from tests.analysis.runs.test_run_experiment import calibrated, data, machine, network, run


def counted(patch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    real = forward_all_outputs

    def forward(*arguments: object) -> object:
        calls.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    patch.setattr(module, "forward_all_outputs", forward)
    return calls


@pytest.mark.parametrize("damage", [False, True])
def test_a_run_that_was_ended_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, damage: bool
) -> None:
    monkeypatch.setattr(type(network()), "forward_batch_size", property(lambda _: 8))
    config = uniform_config(4, 4)
    whole = run(config)
    calls = counted(monkeypatch)

    def begin() -> Steps[Run]:
        experiment = Experiment(config, machine(), seed=7, given_name="run")
        study = Study(network(), data(), calibrated=calibrated(), store=RunStore(tmp_path))
        return measure_experiment(study, experiment)

    steps = begin()
    for progress in steps:
        if "24 of 40" in progress.text:
            break
    steps.close()
    assert len(calls) == 6  # three batches, two networks
    if damage:
        (tmp_path / FILE).write_bytes(b"no database")
    resumed = drain_steps(begin())
    assert len(calls) == 6 + (10 if damage else 4)
    assert resumed.evaluation == whole.evaluation
    again = drain_steps(begin())
    assert len(calls) == 16 + (10 if damage else 4)  # nothing is left of a whole score
    assert again.evaluation == whole.evaluation


def test_without_a_place_nothing_is_kept_and_nothing_stops(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stored = PartialScores(tmp_path / "file" / "folder", "question")
    stored.keep_outputs(0, (), ())
    stored.flush_outputs()
    assert stored.find_outputs(0) is None
    stored.forget_outputs()
