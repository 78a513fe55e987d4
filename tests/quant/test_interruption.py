"""Long work ends when its time is over or a person has cancelled it."""

import threading

import pytest

from quant.interruption import (
    Interrupted,
    TimeLimitError,
    check_interruption,
    limit_processor_time,
    make_cancellable,
)
from quant.progress import Progress, Steps
from ui.job_kind import JobKind
from ui.jobs import Job, JobState


def forever() -> None:
    while True:
        check_interruption()


def test_a_limit_ends_in_a_sentence_and_holds_for_this_thread_alone() -> None:
    check_interruption()
    limit = limit_processor_time(0.05, "Loading x.onnx")
    with pytest.raises(TimeLimitError, match=r"Loading x\.onnx must take at most 0 s"), limit:
        forever()
    check_interruption()
    with make_cancellable(lambda: True):
        other = threading.Thread(target=check_interruption)
        other.start()
        other.join()


def test_whoever_cancels_is_not_told_of_a_limit() -> None:
    with (
        pytest.raises(Interrupted),
        make_cancellable(lambda: True),
        limit_processor_time(9, "Loading"),
    ):
        forever()


def test_a_job_is_cancelled_in_the_middle_of_a_step() -> None:
    started = threading.Event()

    def steps() -> Steps[None]:
        started.set()
        forever()
        yield Progress(1.0, "never")

    job = Job(JobKind.LOAD_MODEL, "Load x", steps, lambda _: None)
    thread = threading.Thread(target=job.run_to_end)
    thread.start()
    started.wait()
    job.cancel()
    thread.join(timeout=20)
    assert not thread.is_alive()
    job.hand_over()
    assert job.state is JobState.CANCELLED
    assert job.problem is None
