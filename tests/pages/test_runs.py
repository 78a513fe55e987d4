import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.runs.run_store import Run, RunStore
from quant.config import QuantConfig, Rule, uniform_config
from quant.progress import Progress, Steps
from quant.spec import Granularity, SpecChange
from tests.analysis.results import evaluation as example_score
from tests.analysis.results import run as example_run
from tests.pages.visit import CONFIGURE, RUNS, Visit, held_jobs, read, submit, wait_idle
from ui.frame.workspace_registry import process_registry
from ui.job_kind import JobKind
from ui.jobs import Job, JobState

Names = Callable[[], list[str]]


def run(visit: Visit, name: str, config: QuantConfig | None = None) -> Visit:
    if config is not None:
        visit.work.set_config(config)
        visit.run()
    field = next(t for t in visit.at.text_input if t.label == "Name of the run")
    field.set_value(name)
    return visit.press("Run").wait()


def pick(visit: Visit, *rows: int) -> Visit:
    visit.at.session_state["runs.table"] = {"selection": {"rows": list(rows), "columns": []}}
    return visit.run()


def newest(visit: Visit) -> Run:
    return visit.work.store.all_runs()[0]


@pytest.fixture
def page(visit: Visit) -> Visit:
    return visit.open(RUNS)


@pytest.fixture
def done(page: Visit) -> Visit:
    """The page after one run of W8A8 per-channel."""
    return run(page, "eight")


def test_a_run_shows_progress_and_then_its_result(page: Visit, saved: Names) -> None:
    with held_jobs():
        page.press("Run")
        assert page.at.sidebar.get("progress")
        assert any(button.label == "Cancel" for button in page.at.sidebar.button)
        assert not page.at.toast, "a toast would stay after a short run, over the title"
        assert any("Run W8A8 per-channel" in info.value for info in page.at.info)
    page.wait()
    assert not page.at.sidebar.get("progress")
    assert saved() == ["W8A8 per-channel"]
    result = newest(page).evaluation
    assert result.samples == 200
    assert page.metric("Quantized top-1").value == f"{100 * (result.quantized_top1 or 0):.2f} %"
    assert "(95 %)" in page.metric("Quantized top-1").delta
    assert page.metric("Float top-1").value.endswith(" %")
    assert page.metric("Agreement with float").value == f"{100 * result.agreement:.2f} %"
    assert page.metric("Output SQNR").value.endswith(" dB")
    assert result.agreement > 0.95
    assert result.sqnr_db > 15


def test_float_is_exact(page: Visit) -> None:
    run(page, "float", uniform_config(32, 32))
    assert page.metric("Agreement with float").value == "100.00 %"
    assert page.metric("Output SQNR").value == "exact"


@pytest.mark.parametrize(
    ("view", "charts", "tables"),
    [
        ("Energy", 2, 1),
        ("Roofline", 1, 1),
        ("Widths", 1, 1),
        ("SQNR by layer", 1, 1),
        ("Table", 0, 2),
        ("Disagreements", 0, 2),
    ],
)
def test_every_view_of_a_run(page: Visit, view: str, charts: int, tables: int) -> None:
    run(page, "two bits", uniform_config(2, 8))
    page.at.segmented_control[0].set_value(view)
    page.run()
    found = page.at.get("plotly_chart")
    assert len(found) == charts
    for chart in found:
        assert json.loads(chart.proto.spec)["data"]
        assert chart.proto.alt
    assert len(page.at.dataframe) == tables
    assert all(len(frame.value) for frame in page.at.dataframe)


def test_a_lossy_run_opens_with_its_verdict_and_the_next_steps(page: Visit) -> None:
    run(page, "two bits", uniform_config(2, 8))
    (verdict,) = (e for e in page.errors if e.startswith("Lost "))
    assert re.search(
        r": not deployable; weights alone lose \d\d\.\d points of top-1, activations alone", verdict
    )
    steps = [b.label for b in page.at.button if (b.key or "").startswith("runs.next.")]
    assert steps == [
        "Try the recommended repairs", "See the most harmful layers", "Find the best trade-offs",
    ]  # fmt: skip
    assert page.at.segmented_control[0].value == "SQNR by layer"
    assert "fashion-mobilenet · no repair · Edge systolic array, 8 bit" in page.words


@pytest.mark.parametrize(
    ("place", "kind", "title"),
    [
        ("Repair", JobKind.REPAIR, "Repair"),
        ("Sensitivity", JobKind.SENSITIVITY, "Sensitivity"),
        ("Trade-offs", JobKind.FRONT, "Trade-offs"),
    ],
)
def test_a_next_step_takes_the_run_along_begins_and_opens_its_page(
    page: Visit, place: str, kind: JobKind, title: str
) -> None:
    five = uniform_config(5, 5, Granularity.PER_TENSOR)
    bad = example_run("five bits", page.work.config_cost(five), example_score(800, 4, 1000))
    network = page.work.network
    assert network is not None
    page.work.store.save_run(replace(bad, model_digest=network.digest, config=five.to_dict()))
    with held_jobs():
        page.run().press(f"runs.next.{place}")
        assert page.work.config == five
        (job,) = (one for one in page.work.runner.active_jobs if not one.background)
        assert job.kind is kind
        assert page.at.title[0].value == title
        job.cancel()


def test_two_runs_are_compared_in_words_and_by_layer(done: Visit) -> None:
    run(done, "four", uniform_config(4, 8, Granularity.PER_TENSOR))
    pick(done, 0, 1)
    assert "four against eight" in [s.value for s in done.at.subheader]
    assert "answers changed: " in done.words
    told = [read(c.value) for c in done.at.main.caption if "now wrong" in c.value]
    assert told, "beside a picture"
    assert re.match(r"\w.* \d+ % → \w.* \d+ %, is \w", told[0]), "answers and confidences"
    titles = [str(c.proto.alt) for c in charts(done)]
    assert len(titles) == 4
    assert "class" in titles[0] or "loses most" in titles[0], "the classes come before energy"
    facts = list(done.at.dataframe[1].value["what"])
    assert facts[:2] == ["weight bits", "weight granularity"]
    assert "machine" not in facts, "what is the same is not listed"
    sentences = [m.value for m in done.at.main.markdown if m.value.startswith("- ")]
    assert sentences
    assert any("points" in sentence for sentence in sentences)
    assert len(done.at.dataframe[-1].value) > 20
    pick(done, 1)
    assert "eight" in [s.value for s in done.at.subheader]


def charts(visit: Visit) -> list[Any]:
    return list(visit.at.get("plotly_chart"))


def test_three_runs_are_compared_and_the_oldest_is_what_the_others_are_told_against(
    done: Visit,
) -> None:
    run(done, "four", uniform_config(4, 8, Granularity.PER_TENSOR))
    run(done, "four", uniform_config(4, 4, Granularity.PER_TENSOR))
    names = list(done.at.dataframe[0].value["name"])
    assert len(set(names)) == 3, "equal names are told apart"
    pick(done, 0, 1, 2)
    assert "3 runs compared" in [s.value for s in done.at.subheader]
    facts = done.at.dataframe[1].value
    assert list(facts.columns) == ["what", "eight", names[1], names[0]]
    assert list(facts["what"])[:2] == ["weight bits", "activation bits"]
    against = [m.value for m in done.at.main.markdown if " against eight: " in m.value]
    assert len(against) == 2
    told = next(read(c.value) for c in done.at.main.caption if "eight: " in c.value)
    assert all(f"{name}: " in told for name in names), "a picture with the answer of each run"
    layers = done.at.dataframe[-1].value
    assert list(layers.columns) == ["layer", "eight", names[1], names[0]]


def test_tags_and_a_note_are_kept_shown_literally_and_choose_runs(done: Visit) -> None:
    identity = newest(done).id
    done.at.text_input(key=f"runs.tags.{identity}").set_value("baseline, **bold**")
    done.at.text_area(key=f"runs.note.{identity}").set_value("![x](https://evil.example/a.png)")
    done.press("runs.annotate")
    kept = newest(done)
    assert kept.tags == ("baseline", "**bold**")
    assert "baseline, **bold**" in done.words
    assert "![x](" not in done.markdown, "a note is no Markdown"
    run(done, "four", uniform_config(4, 8))
    assert len(done.at.dataframe[0].value) == 2
    done.at.multiselect(key="runs.tag_filter").set_value(["baseline"])
    done.run()
    assert list(done.at.dataframe[0].value["name"]) == ["eight"]


def test_runs_of_two_models_can_be_compared(done: Visit) -> None:
    done.open("pages/model.py").press("model.use.fashion-resnet").wait()
    done.work.take_data(
        type(done.work.data)(preprocess=done.work.data.preprocess, calibration=32, samples=200)
    )
    done.open(RUNS)
    run(done, "resnet")
    pick(done, 0, 1)
    assert "resnet against eight" in [s.value for s in done.at.subheader]


def test_a_run_can_be_renamed(done: Visit, saved: Names) -> None:
    field = next(t for t in done.at.text_input if t.label == "Name")
    field.set_value("the best one")
    done.press("runs.rename")
    assert saved() == ["the best one"]
    assert "the best one" in [s.value for s in done.at.subheader]


@pytest.mark.parametrize("name", ["", "   "])
def test_a_run_keeps_a_name(done: Visit, saved: Names, name: str) -> None:
    next(t for t in done.at.text_input if t.label == "Name").set_value(name)
    done.press("runs.rename")
    assert len(done.errors) == 1
    assert saved() == ["eight"]


def test_a_run_can_be_deleted(done: Visit, saved: Names) -> None:
    done.press("runs.delete")
    assert saved() == []
    assert done.at.info[0].value.startswith("No runs yet")


def test_the_configuration_of_a_run_can_be_loaded(done: Visit) -> None:
    wanted = done.work.config
    done.work.set_config(uniform_config(2, 2))
    done.run().press("runs.load")
    assert done.work.config == wanted
    assert done.work.experiment.display_name == "eight"


def test_a_configuration_that_does_not_fit_the_model_is_not_loaded(done: Visit) -> None:
    config = QuantConfig(uniform_config(8, 8).default, (Rule("stem.0", SpecChange(bits=4)),))
    run(done, "ruled", config)
    done.open("pages/model.py").press("model.use.fashion-vit").wait()
    before = done.work.config
    done.open(RUNS).press("runs.load")
    assert done.work.config == before
    assert "the model loaded is fashion-vit" in done.words


def test_runs_survive_a_restart(done: Visit, runs: Path) -> None:
    top1 = done.metric("Quantized top-1").value
    process_registry().close_all()
    process_registry.clear()
    later = Visit().open(RUNS)
    assert later.work is not done.work
    assert later.metric("Quantized top-1").value == top1
    assert [found.name for found in RunStore(runs).all_runs()] == ["eight"]


def test_a_failing_run_says_why_and_loses_nothing(
    done: Visit, saved: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Steps[Run]:
        yield Progress(0.5, "half")
        raise ValueError("Ranges must be finite; got nan in stem.0.")

    monkeypatch.setattr("ui.runs.forms.measure_experiment", fail)
    run(done, "broken")
    assert done.errors == ["**Run broken** stopped: Ranges must be finite; got nan in stem.0."]
    assert saved() == ["eight"]
    assert done.metric("Quantized top-1").value.endswith(" %")
    monkeypatch.undo()
    monkeypatch.setenv("QUANTSCOPE_RUNS", str(done.work.settings.runs))
    submit(done.work, Job(JobKind.OTHER, "another", _nothing, lambda _: None))
    assert done.run().errors == []


def _nothing() -> Steps[None]:
    yield Progress(1.0, "")


def test_a_bug_is_shown_as_one_and_the_app_stays_usable(
    done: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Steps[Run]:
        yield Progress(0.5, "half")
        raise RuntimeError("a bug")

    monkeypatch.setattr("ui.runs.forms.measure_experiment", fail)
    next(button for button in done.at.button if button.label == "Run").click()
    done.at.run()
    wait_idle(done.work)
    done.at.run()
    assert "a bug" in done.at.exception[0].value
    assert done.metric("Quantized top-1").value.endswith(" %")


def test_a_cancelled_run_saves_nothing_and_the_app_stays_usable(page: Visit, saved: Names) -> None:
    work = page.work
    with held_jobs():
        page.press("Run")
        (job,) = [j for j in work.runner.active_jobs if j.kind is JobKind.RUN]
        page.press(f"frame.cancel.{job.id}")
        assert str(job.state) == "cancelling"
    page.wait()
    assert job.state is JobState.CANCELLED
    assert saved() == []
    assert "cancelled. Nothing else changed." in page.words
    assert "cancelled" not in page.run().words
    work.take_data(type(work.data)(calibration=32, samples=50))
    run(page.run(), "after all")
    assert saved() == ["after all"]


def test_runs_queue_up(page: Visit, saved: Names) -> None:
    with held_jobs():
        page.press("Run")
        page.work.set_config(uniform_config(4, 8))
        page.run().press("Run")
        runs = [job for job in page.work.runner.active_jobs if job.kind is JobKind.RUN]
    page.wait()
    assert len(runs) == 2
    assert len(saved()) == 2
    configs = {found.config["default"]["weight"]["bits"] for found in page.work.store.all_runs()}
    assert configs == {4, 8}


def test_a_run_uses_the_model_it_was_started_on(page: Visit, saved: Names) -> None:
    """The next model may be loaded while a run waits or calibrates."""
    page.press("Run")
    page.open("pages/model.py").press("model.use.fashion-resnet").wait()
    assert newest(page).model == "fashion-mobilenet"
    assert page.work.network is not None
    assert page.work.network.name == "fashion-resnet"
    assert page.work.study is not None
    assert not page.work.study.is_calibrated, "statistics of one model must not serve another"
    assert saved() == ["W8A8 per-channel"]


def test_two_workspaces_share_the_runs_and_not_the_configuration(done: Visit) -> None:
    other = Visit().open(CONFIGURE)
    other.choose("configure.preset", "Float").press("configure.apply")
    other.open(RUNS)
    assert "eight" in [s.value for s in other.at.subheader]
    assert done.run().work.experiment.display_name == "W8A8 per-channel"
