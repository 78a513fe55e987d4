"""A run with block reconstruction: stopped it goes on, and nothing learns twice."""

from pathlib import Path

import pytest
import torch

from accelerator.machine import load_preset
from analysis.deployment.prepare_export import quantize_for_export
from analysis.network import Network
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run, RunStore
from analysis.study import Study
from data_io.bundled import letter_test, letter_train
from model_io.qdq_export.export_qdq import export_qdq_onnx
from model_io.runtime.onnx_runtime import RuntimeSession
from quant.config import uniform_config
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.progress import Steps, drain_steps
from tests.sample_networks import sample_network


def network() -> Network:
    return sample_network("letter-mlp")


def study_in(folder: Path | None) -> Study:
    store = None if folder is None else RunStore(folder)
    return Study(network(), letter_test().sample(60), letter_train().sample(32), store=store)


def reconstructed(*, drop: bool = True) -> Experiment:
    step = Reconstruct(20, 10, block_layers=1, drop=drop)
    return Experiment(uniform_config(3, 8), load_preset("edge_systolic_8b"), (step,))


def texts_of(steps: Steps[Run]) -> tuple[list[str], Run]:
    texts = []
    while True:
        try:
            texts.append(next(steps).text)
        except StopIteration as stop:
            run: Run = stop.value
            return texts, run


@pytest.fixture(scope="module")
def whole() -> Run:
    return drain_steps(measure_experiment(study_in(None), reconstructed()))


def test_a_second_run_reads_what_the_first_has_learned(tmp_path: Path, whole: Run) -> None:
    _, first = texts_of(measure_experiment(study_in(tmp_path), reconstructed()))
    texts, second = texts_of(measure_experiment(study_in(tmp_path), reconstructed()))
    assert first.evaluation == second.evaluation == whole.evaluation
    assert any(text.startswith("Reconstructing") for text in texts)
    assert not any(": step" in text for text in texts)
    assert whole.recipe == ("Reconstruct blocks (20 steps, 10 for the outputs)",)
    texts, _ = texts_of(measure_experiment(study_in(tmp_path), reconstructed(drop=False)))
    assert any(": step" in text for text in texts)  # other settings are another question


def test_a_stopped_run_goes_on_to_the_same_score(tmp_path: Path, whole: Run) -> None:
    steps = measure_experiment(study_in(tmp_path), reconstructed())
    begun: list[str] = []
    for progress in steps:
        if progress.text.startswith("Reconstructing") and "reading" in progress.text:
            begun.append(progress.text.split(":")[0])
        if len(begun) == 2:
            break
    steps.close()
    texts, run = texts_of(measure_experiment(study_in(tmp_path), reconstructed()))
    assert run.evaluation == whole.evaluation
    learned = {text.split(":")[0] for text in texts if ": step" in text}
    assert begun[0] not in learned
    assert begun[1] in learned


def test_the_file_answers_as_what_was_scored(tmp_path: Path) -> None:
    stage = drain_steps(quantize_for_export(study_in(tmp_path), reconstructed()))
    batch = next(letter_test().sample(20).batches(20)).inputs
    assert isinstance(batch, torch.Tensor)
    answer = RuntimeSession(export_qdq_onnx(stage.quantized).model, optimize=False)(batch)
    with torch.no_grad():
        wanted = stage.quantized(batch)
    step = float(wanted.max() - wanted.min()) / 255
    assert float((answer - wanted).abs().max()) <= 2.02 * step  # biases are whole numbers there
    assert float((answer - wanted).abs().mean()) <= 0.5 * step
