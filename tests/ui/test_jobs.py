import threading
import time
from collections.abc import Callable

import pytest

from quant.progress import Progress, Steps
from ui.job_kind import JobKind
from ui.jobs import Job, JobRunner, JobState
from ui.widgets.job_text import job_line

PATIENCE_S = 10


class Gate:
    """Steps that stop at a gate: the test decides when they go on."""

    def __init__(self) -> None:
        self.reached, self.opened, self.closed = (threading.Event() for _ in range(3))

    def steps(self) -> Steps[str]:
        try:
            yield Progress(0.25, "before the gate")
            self.reached.set()
            assert self.opened.wait(PATIENCE_S)
            yield Progress(0.5, "behind the gate")
            yield Progress(0.75, "far behind the gate")
        finally:
            self.closed.set()
        return "result"


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def taken(runner: JobRunner) -> int:
    """Begin a page; return how many jobs had ended by then."""
    return runner.take_results()


def failing() -> Steps[None]:
    yield Progress(0.5, "half")
    raise ValueError("the scale must be positive")


def test_a_job_runs_to_its_end_and_hands_over_its_result() -> None:
    results: list[str] = []
    gate = Gate()
    gate.opened.set()
    job = Job(JobKind.OTHER, "a job", gate.steps, results.append)
    assert (job.state, job.is_active) == (JobState.QUEUED, True)
    job.run_to_end()
    assert (job.state, job.is_active, results) == (JobState.ENDED, True, [])
    job.hand_over()
    assert (job.state, job.is_active, results) == (JobState.DONE, False, ["result"])
    job.hand_over()
    assert results == ["result"], "what was handed over is not handed over again"
    assert job.progress == Progress(0.75, "far behind the gate")


def test_a_failure_is_kept_with_its_reason() -> None:
    results: list[None] = []
    job = Job(JobKind.OTHER, "a job", failing, results.append)
    job.run_to_end()
    job.hand_over()
    assert job.state is JobState.FAILED
    assert str(job.problem) == "the scale must be positive"
    assert results == []


def test_a_failure_while_the_result_is_stored_is_a_failure() -> None:
    def no_space(_: str) -> None:
        raise OSError("no space left")

    gate = Gate()
    gate.opened.set()
    job = Job(JobKind.OTHER, "a job", gate.steps, no_space)
    job.run_to_end()
    job.hand_over()
    assert (job.state, str(job.problem)) == (JobState.FAILED, "no space left")


def test_a_failure_before_the_first_step() -> None:
    def no_steps() -> Steps[None]:
        raise ValueError("nothing to do")

    job = Job(JobKind.OTHER, "a job", no_steps, lambda _: None)
    job.run_to_end()
    job.hand_over()
    assert (job.state, str(job.problem)) == (JobState.FAILED, "nothing to do")


def test_cancelled_before_it_started_it_never_starts() -> None:
    gate = Gate()
    job = Job(JobKind.OTHER, "a job", gate.steps, lambda _: None)
    job.cancel()
    assert job.state is JobState.CANCELLED
    job.run_to_end()
    assert job.state is JobState.CANCELLED
    assert not gate.reached.is_set()


def test_cancelled_while_it_runs_it_stops_before_the_next_step_and_cleans_up() -> None:
    results: list[str] = []
    gate, runner = Gate(), JobRunner()
    job = runner.submit(Job(JobKind.OTHER, "a job", gate.steps, results.append))
    assert gate.reached.wait(PATIENCE_S)
    job.cancel()
    assert (job.state, job.is_active) == (JobState.CANCELLING, True)
    assert job_line(runner, job).startswith("**a job** · cancelling; it stops after this step")
    gate.opened.set()
    wait(lambda: taken(runner) == 1)
    assert job.state is JobState.CANCELLED
    assert gate.closed.is_set()
    assert results == []
    assert job.progress == Progress(0.5, "behind the gate")


def test_jobs_run_one_after_the_other() -> None:
    order: list[str] = []
    first, second, runner = Gate(), Gate(), JobRunner()
    one = runner.submit(Job(JobKind.OTHER, "one", first.steps, lambda _: order.append("one")))
    two = runner.submit(Job(JobKind.OTHER, "two", second.steps, lambda _: order.append("two")))
    assert first.reached.wait(PATIENCE_S)
    assert [j.title for j in runner.active_jobs] == ["one", "two"]
    assert two.state is JobState.QUEUED
    assert job_line(runner, two) == "**two** · waits for: one"
    assert not second.reached.is_set()
    second.opened.set()
    first.opened.set()
    wait(lambda: taken(runner) == 2)
    assert order == ["one", "two"]
    assert (one.state, two.state) == (JobState.DONE, JobState.DONE)
    assert runner.last is two
    assert runner.active_jobs == ()


def test_a_result_is_handed_over_when_a_page_begins_on_the_thread_of_the_page() -> None:
    threads: list[threading.Thread] = []
    gate, runner = Gate(), JobRunner()
    job = runner.submit(
        Job(
            JobKind.OTHER, "a job", gate.steps, lambda _: threads.append(threading.current_thread())
        )
    )
    gate.opened.set()
    wait(lambda: runner.ended == 1)
    assert (threads, job.state, runner.active_jobs) == ([], JobState.ENDED, (job,))
    assert runner.take_results() == 1
    assert threads == [threading.current_thread()]
    assert (job.state, runner.active_jobs) == (JobState.DONE, ())
    assert runner.last is job
    assert runner.take_results() == 1


def test_a_job_called_off_after_its_end_changes_nothing() -> None:
    results: list[str] = []
    gate, runner = Gate(), JobRunner()
    gate.opened.set()
    job = runner.submit(Job(JobKind.OTHER, "a job", gate.steps, results.append))
    wait(lambda: runner.ended == 1)
    job.cancel()
    runner.take_results()
    assert (job.state, results) == (JobState.CANCELLED, [])


def test_of_jobs_that_ended_together_the_one_that_failed_is_told_of() -> None:
    gate, runner = Gate(), JobRunner()
    gate.opened.set()
    bad = runner.submit(Job(JobKind.OTHER, "bad", failing, lambda _: None))
    runner.submit(Job(JobKind.OTHER, "good", gate.steps, lambda _: None))
    wait(lambda: runner.ended == 2)
    runner.take_results()
    assert runner.last is bad


def test_a_failed_job_does_not_hold_up_the_next() -> None:
    gate, runner = Gate(), JobRunner()
    gate.opened.set()
    bad = runner.submit(Job(JobKind.OTHER, "bad", failing, lambda _: None))
    good = runner.submit(Job(JobKind.OTHER, "good", gate.steps, lambda _: None))
    wait(lambda: taken(runner) == 2)
    assert (bad.state, good.state) == (JobState.FAILED, JobState.DONE)


def test_a_queued_job_that_is_cancelled_leaves_the_list_at_once() -> None:
    first, second, runner = Gate(), Gate(), JobRunner()
    one = runner.submit(Job(JobKind.OTHER, "one", first.steps, lambda _: None))
    two = runner.submit(Job(JobKind.OTHER, "two", second.steps, lambda _: None))
    assert first.reached.wait(PATIENCE_S)
    two.cancel()
    assert runner.active_jobs == (one,)
    first.opened.set()
    wait(lambda: taken(runner) == 2)
    assert not second.reached.is_set()
    assert one.state is JobState.DONE


def test_shutdown_cancels_what_runs_and_what_waits() -> None:
    first, second, runner = Gate(), Gate(), JobRunner()
    jobs = [
        runner.submit(Job(JobKind.OTHER, "", gate.steps, lambda _: None))
        for gate in (first, second)
    ]
    assert first.reached.wait(PATIENCE_S)
    runner.cancel_all()
    first.opened.set()
    wait(lambda: taken(runner) == 2)
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 2


def test_the_runner_starts_again_after_it_was_idle() -> None:
    runner = JobRunner()
    for number in range(1, 4):
        gate = Gate()
        gate.opened.set()
        runner.submit(Job(JobKind.OTHER, "", gate.steps, lambda _: None))
        wait(lambda wanted=number: taken(runner) == wanted)  # type: ignore[misc]
    assert runner.active_jobs == ()


def test_remaining_time_follows_from_the_part_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("ui.jobs.time.monotonic", lambda: now)
    seen: list[float | None] = []

    def steps() -> Steps[None]:
        nonlocal now
        for later, fraction in ((100.5, 0.1), (110.0, 0.25), (110.0, 0.01), (130.0, 1.0)):
            now = later
            yield Progress(fraction, "")
            seen.append(job.remaining_s)

    job = Job(JobKind.OTHER, "", steps, lambda _: None)
    assert job.remaining_s is None
    job.run_to_end()
    # too early to judge; 9.5 s for 15 of 90 % leave 47.5 s; a part that counts anew changes nothing
    assert seen == [None, pytest.approx(47.5), pytest.approx(47.5), 0.0]
    assert job.remaining_s is None


class Background:
    """Steps that nobody asked for: the first start stops at a gate, later ones run through."""

    def __init__(self) -> None:
        self.gate, self.starts = Gate(), 0

    def steps(self) -> Steps[str]:
        self.starts += 1
        if self.starts == 1:
            return self.gate.steps()
        return _one_step()


def _one_step() -> Steps[str]:
    yield Progress(0.5, "half", "the score is 94 % so far")
    return "measured"


def test_a_background_job_gives_way_to_a_person_and_starts_again_after_the_persons_job() -> None:
    order: list[str] = []
    uninvited, wanted, runner = Background(), Gate(), JobRunner()
    noise = runner.submit(
        Job(JobKind.TENSOR_NOISE, "noise", uninvited.steps, order.append, background=True)
    )
    assert uninvited.gate.reached.wait(PATIENCE_S)
    run = runner.submit(Job(JobKind.RUN, "run", wanted.steps, order.append))
    uninvited.gate.opened.set()
    assert wanted.reached.wait(PATIENCE_S), "the run began before the noise was measured"
    assert uninvited.gate.closed.is_set()
    assert (run.state, noise.state) == (JobState.RUNNING, JobState.QUEUED)
    assert job_line(runner, noise) == "**noise** · waits for: run"
    wanted.opened.set()
    wait(lambda: taken(runner) == 2)
    assert order == ["result", "measured"]
    assert (uninvited.starts, noise.state, noise.known) == (
        2,
        JobState.DONE,
        "the score is 94 % so far",
    )


def test_the_job_of_a_person_does_not_give_way_and_overtakes_what_waits_uninvited() -> None:
    order: list[str] = []
    gates, runner = [Gate() for _ in range(4)], JobRunner()
    first, noise, second, third = (
        runner.submit(
            Job(
                JobKind.OTHER,
                name,
                gate.steps,
                lambda _, name=name: order.append(name),  # type: ignore[misc]
                background=name == "noise",
            )
        )
        for name, gate in zip(("first", "noise", "second", "third"), gates, strict=True)
    )
    assert gates[0].reached.wait(PATIENCE_S)
    assert first.state is JobState.RUNNING
    assert runner.active_jobs == (first, second, third, noise)
    for gate in gates:
        gate.opened.set()
    wait(lambda: taken(runner) == 4)
    assert order == ["first", "second", "third", "noise"]


def test_a_background_job_that_gave_way_and_is_cancelled_does_not_start_again() -> None:
    uninvited, wanted, runner = Background(), Gate(), JobRunner()
    noise = runner.submit(
        Job(JobKind.TENSOR_NOISE, "noise", uninvited.steps, lambda _: None, background=True)
    )
    assert uninvited.gate.reached.wait(PATIENCE_S)
    run = runner.submit(Job(JobKind.RUN, "run", wanted.steps, lambda _: None))
    uninvited.gate.opened.set()
    assert wanted.reached.wait(PATIENCE_S)
    noise.cancel()
    wanted.opened.set()
    wait(lambda: taken(runner) == 2)
    assert (noise.state, run.state) == (JobState.CANCELLED, JobState.DONE)
    assert uninvited.starts == 1
