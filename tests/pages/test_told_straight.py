"""What a person is told is what was done: the blockers of a trial by three kinds of user."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from streamlit.testing.v1.element_tree import Block

from analysis.reporting.gather import Around, gather_run_report
from analysis.runs.run_store import Run
from data_io.dataset import Dataset
from quant.config import QuantConfig, Rule, uniform_config
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.progress import drain_steps
from quant.spec import Granularity, SpecChange
from tests.pages.visit import (
    CONFIGURE,
    MODEL,
    RUNS,
    Visit,
    data_choice,
    leave_choices,
    model_choice,
)
from ui.export.jobs import finished_artefacts, present_export_request

EXPORT = "pages/export.py"
BROKEN = uniform_config(8, 8, Granularity.PER_TENSOR)


def kinds_and_values(block: Block) -> Iterator[tuple[str, str]]:
    """Yield kind and key or value of what stands on the page, from top to bottom."""
    for child in block.children.values():
        if isinstance(child, Block):
            yield from kinds_and_values(child)
        else:
            name = getattr(child, "key", None) or getattr(child, "value", "")
            yield child.type, str(name)


def place_of(visit: Visit, kind: str, words: str = "") -> int:
    """Return the place of the first element of a kind with the words, counted from the top."""
    found = list(kinds_and_values(visit.at.main))
    return next(n for n, (k, value) in enumerate(found) if k == kind and words in value)


def imbalanced(runs: Path, images: int = 300) -> Visit:
    """A tab on the sample whose channels differ, with the configuration that breaks it."""
    leave_choices(
        runs,
        model=model_choice("fashion-mobilenet-imbalanced"),
        data=data_choice("fashion", calibration=64, samples=images),
        config=BROKEN.to_dict(),
        config_name="W8A8 per-tensor",
    )
    return Visit().wait()


def top1_of_file(content: bytes, data: Dataset) -> float:
    """Return the top-1 of an ONNX file in ONNX Runtime, a share of 1."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    hits = 0
    for batch in data.batches(50):
        assert batch.labels is not None
        (logits,) = session.run(None, {given.name: np.asarray(batch.inputs)})
        hits += int((np.asarray(logits).argmax(-1) == batch.labels.numpy()).sum())
    return hits / len(data)


def test_a_repaired_run_stays_repaired_through_another_tab_and_into_its_file(runs: Path) -> None:
    first = imbalanced(runs)
    first.work.set_recipe((Equalize(), CorrectBias()))
    first.open(RUNS).press("Run").wait()
    run = first.work.store.all_runs()[0]
    assert run.evaluation.quantized_top1 is not None
    assert run.evaluation.quantized_top1 > 0.9, "without the repairs it is below 0.2"
    second = Visit()
    second.press("model.use.letter-mlp").wait()
    second.press("model.use.fashion-mobilenet-imbalanced").wait()
    data = first.work.data
    second.work.take_data(data)
    second.work.set_config(uniform_config(4, 8))
    second.open(RUNS).press("runs.load")
    assert second.work.experiment.recipe == (Equalize(), CorrectBias())
    assert second.work.experiment.display_name == run.name
    second.open(EXPORT).press("export.make.onnx-qdq").wait()
    assert second.errors == []
    assert "the simulation's is" in second.words
    commands = [block.value for block in second.at.code]
    assert any("python" in command for command in commands)
    study = second.work.study
    assert study is not None
    made = finished_artefacts(second.work, present_export_request(second.work, study))["onnx-qdq"]
    assert made.path is not None
    content = made.path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(made.path) as archive:
            content = archive.read(next(n for n in archive.namelist() if n.endswith(".onnx")))
    top1 = top1_of_file(content, study.scored_images)
    assert top1 == pytest.approx(run.evaluation.quantized_top1, abs=0.01)
    _report_is_of_the_repaired_network(second, run.id)


def _report_is_of_the_repaired_network(visit: Visit, identity: str) -> None:
    """The suspects of the report are those of the network that the run measured."""
    run = next(one for one in visit.work.store.all_runs() if one.id == identity)
    around = Around(study=visit.work.study, machine=visit.work.machine, store=visit.work.store)
    report = drain_steps(gather_run_report(run, around))
    plain = drain_steps(gather_run_report(_without_repairs(run), around))
    assert report.suspects is not None
    assert plain.suspects is not None
    suspects = [{s.layer_name for s in found} for found in (report.suspects, plain.suspects)]
    assert len(suspects[0]) < len(suspects[1]), suspects


def _without_repairs(run: Run) -> Run:
    """Return the run as if its network had no repairs."""
    experiment = dict(run.experiment or {})
    return replace(run, id="plain", recipe=(), steps=(), experiment={**experiment, "recipe": []})


def test_undo_brings_back_name_repairs_and_table(visit: Visit) -> None:
    """The name came not back with the table, and the button said Undo (0) beside edited."""
    work = visit.work
    begun = work.experiment
    visit.open(CONFIGURE)
    visit.choose("configure.preset", "W4A8 per-channel").press("configure.apply")
    work.set_recipe((Equalize(),))
    preset = work.experiment
    work.set_config(QuantConfig(preset.config.default, (Rule("stem.0", SpecChange(bits=6)),)))
    visit.run()
    assert work.experiment.display_name == "W4A8 per-channel, 1 rule · equalized"
    assert visit.at.button(key="frame.undo").label == "Undo (3)"
    bits = list(visit.at.dataframe[0].value.iloc[0])
    visit.press("frame.undo")
    assert work.experiment == preset
    assert work.experiment.display_name == "W4A8 per-channel · equalized"
    assert work.experiment.display_name in visit.words.replace("\\", "")
    assert list(visit.at.dataframe[0].value.iloc[0]) != bits
    visit.press("frame.undo").press("frame.undo")
    assert work.experiment == begun
    assert visit.at.button(key="frame.undo").label == "Undo (0)"
    assert "1 rule" not in visit.words


def test_a_new_model_begins_with_its_default_experiment(visit: Visit) -> None:
    """Another model was run under the name, the repairs and the rules of the one before."""
    work = visit.work
    rule = Rule("stem.0", SpecChange(bits=4))
    work.change(work.experiment.with_config(QuantConfig(BROKEN.default, (rule,))).with_name("mine"))
    work.set_recipe((Equalize(),))
    visit.press("model.use.fashion-resnet").wait()
    assert work.experiment.display_name == "W8A8 per-channel"
    assert work.config == uniform_config(8, 8)
    assert work.experiment.recipe == ()
    assert work.experiments.past == [], "undo leads to no experiment of another model"
    visit.open(RUNS).press("Run").wait()
    (run,) = work.store.all_runs()
    assert (run.name, run.recipe) == ("W8A8 per-channel", ())
    visit.open(MODEL).press("model.use.fashion-mobilenet").wait()
    assert work.config.rules == (rule,), "the first model goes on with its own"


def test_a_file_that_cannot_be_loaded_is_told_at_its_button(visit: Visit) -> None:
    """The button was at the foot of the page, the error far above the window."""
    visit.upload("model.upload", "net.txt", b"text").press("model.load")
    visit.wait()
    (error,) = visit.errors
    assert "An upload must be one of .pt2" in error
    button, told = place_of(visit, "button", "model.load"), place_of(visit, "error")
    between = list(kinds_and_values(visit.at.main))[button + 1 : told]
    assert button < told
    assert not {"plotly_chart", "metric", "arrow_data_frame", "image"} & {k for k, _ in between}
    assert told < place_of(visit, "metric"), "above all that is told of the model in use"


def test_a_lossy_run_opens_on_its_verdict(runs: Path) -> None:
    """A run at 15 % opened on a plot of energy."""
    visit = imbalanced(runs, 200)
    visit.open(RUNS).press("Run").wait()
    verdict = place_of(visit, "error", "Lost ")
    (words,) = (e for e in visit.errors if e.startswith("Lost "))
    assert "not deployable" in words
    assert verdict < place_of(visit, "metric")
    assert verdict < place_of(visit, "plotly_chart")
    step = place_of(visit, "button", "runs.next.")
    assert verdict < step < place_of(visit, "plotly_chart")
