"""The jobs as a person sees them: what waits and why, what is known so far, and cancelling."""

import threading
from collections.abc import Iterator

import pytest

from quant.progress import Progress, Steps
from tests.pages.visit import PATIENCE_S, RUNS, Visit, read
from ui.job_kind import JobKind
from ui.jobs import Job


class SlowRun:
    """A run that has scored a few images and goes on when the test says so."""

    def __init__(self) -> None:
        self.scored, self.opened = threading.Event(), threading.Event()

    def steps(self) -> Steps[None]:
        yield Progress(0.5, "Scoring: 100 of 200 images", "top-1 93.0 % on 100 images")
        self.scored.set()
        assert self.opened.wait(PATIENCE_S)
        yield Progress(0.9, "Scoring: 180 of 200 images")


def bars(visit: Visit) -> list[str]:
    """Return the texts of the progress bars in the side bar."""
    return [read(item.proto.text) for item in visit.at.sidebar.get("progress")]


@pytest.fixture
def slow(visit: Visit) -> Iterator[tuple[Visit, SlowRun, Job]]:
    """A visit with a run under way and a sweep behind it."""
    run = SlowRun()
    job = visit.work.runner.submit(Job(JobKind.RUN, "Run slow", run.steps, lambda _: None))
    assert run.scored.wait(PATIENCE_S)
    yield visit, run, job
    run.opened.set()
    visit.wait()


def test_what_waits_says_why_and_what_is_known_is_shown_meanwhile(
    slow: tuple[Visit, SlowRun, Job],
) -> None:
    visit, run, _ = slow
    behind = SlowRun()
    behind.opened.set()
    visit.work.runner.submit(
        Job(JobKind.SENSITIVITY, "Sensitivity of it", behind.steps, lambda _: None)
    )
    visit.open(RUNS)
    assert bars(visit) == [
        "**Run slow** · Scoring: 100 of 200 images",
        "**Sensitivity of it** · waits for: Run slow",
    ]
    assert "So far: top-1 93.0 % on 100 images" in visit.words
    assert "So far: **top-1 93.0 % on 100 images**" in visit.words, "on the page of runs too"
    run.opened.set()
    visit.wait()
    assert bars(visit) == []
    assert "So far" not in visit.words


def test_cancelling_is_shown_until_the_job_has_stopped(slow: tuple[Visit, SlowRun, Job]) -> None:
    visit, run, job = slow
    visit.run().press(f"frame.cancel.{job.id}")
    assert job.state == "cancelling"
    (button,) = (b for b in visit.at.button if b.key == f"frame.cancel.{job.id}")
    assert (button.label, button.disabled) == ("Cancelling", True)
    assert bars(visit)[0].startswith("**Run slow** · cancelling; it stops after this step")
    run.opened.set()
    visit.wait()
    assert job.state == "cancelled"
    assert bars(visit) == []


def test_what_nobody_asked_for_runs_behind_what_a_person_starts(
    slow: tuple[Visit, SlowRun, Job],
) -> None:
    """The float accuracy of a newly chosen model waited in front of the person's second run."""
    visit, _, _ = slow
    visit.work.take_data(type(visit.work.data)(calibration=32, samples=50, seed=7))
    visit.open("pages/model.py")
    visit.open(RUNS).press("Run")
    kinds = [job.kind for job in visit.work.runner.active_jobs]
    assert kinds == [JobKind.RUN, JobKind.RUN, JobKind.FLOAT_SCORE]
    assert all(
        job.background is (job.kind is JobKind.FLOAT_SCORE) for job in visit.work.runner.active_jobs
    )
