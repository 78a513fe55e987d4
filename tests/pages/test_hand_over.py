"""What jobs bring reaches the work when a page begins, never while one is drawn."""

import threading
import time

import pytest

from analysis.network import Network
from quant.progress import Progress, Steps, drain_steps
from tests.pages.visit import MODEL, PATIENCE_S, Visit, held_jobs, wait_idle
from ui.answers.sensitivity import screening_key, start_sweep
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.sensitivity import SweepRequest
from ui.state.workspace import Workspace

OTHER = "fashion-resnet"


def test_a_model_that_comes_in_while_a_page_is_drawn_waits_for_the_next_page(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page begins with one model and ends with it, though another is ready meanwhile."""
    ended, seen = visit.work.runner.ended, []

    def until_loaded(work: Workspace) -> None:
        go_on.set()
        deadline = time.monotonic() + PATIENCE_S
        while work.runner.ended == ended:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def look(work: Workspace, network: Network) -> None:
        under_way = [job.title for job in work.runner.active_jobs]
        seen.append((work.network is network, network.name, under_way))

    visit.open(MODEL)
    with held_jobs() as go_on, monkeypatch.context() as patch:
        patch.setattr("ui.model.task_facts.measure_import_check", until_loaded)
        patch.setattr("ui.widgets.network_view.show_layer_table", look)
        visit.press(f"model.use.{OTHER}")
    assert seen == [(True, "fashion-mobilenet", [f"Loading {OTHER}"])]
    visit.run()
    assert visit.at.subheader[0].value == OTHER
    assert f"**{OTHER}**" in visit.words


def test_statistics_stay_those_of_the_beginning_until_the_next(visit: Visit) -> None:
    work = visit.work
    study = work.study
    assert study is not None
    work.begin_page()
    worker = threading.Thread(target=lambda: drain_steps(study.collect_statistics()))
    worker.start()
    worker.join()
    assert work.study is not None
    assert not work.study.is_calibrated
    seen: list[bool] = []
    job = threading.Thread(
        target=lambda: seen.append(bool(work.study and work.study.is_calibrated))
    )
    job.start()
    job.join()
    assert seen == [True], "a job goes on from the newest"
    work.hold_statistics()
    assert work.study.is_calibrated


def test_answers_are_kept_for_the_images_that_were_asked_about(visit: Visit) -> None:
    """Other images may be chosen while a question waits."""
    work, opened = visit.work, threading.Event()

    def until_opened() -> Steps[None]:
        yield Progress(0.0, "")
        assert opened.wait(PATIENCE_S)

    work.runner.submit(Job(JobKind.OTHER, "long", until_opened, lambda _: None))
    asked = SweepRequest()
    sweep = asked.build_sweep(work.config)
    before = screening_key(work, sweep, asked.images)
    start_sweep(work, asked)
    work.take_data(type(work.data)(calibration=32, samples=50, seed=7))
    after = screening_key(work, sweep, asked.images)
    assert before != after
    opened.set()
    wait_idle(work)
    assert work.store.find_answer(before)
    assert not work.store.find_answer(after)
