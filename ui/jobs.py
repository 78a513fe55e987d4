"""Long work beside the page: the only place with a thread; knows nothing of quantization."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import streamlit as st

from quant.interruption import Interrupted, cancellable
from quant.progress import Progress, Steps
from ui.job_kind import JobKind
from ui.plain_text import plain

_LOG = logging.getLogger(__name__)


class JobState(StrEnum):
    """Where a job stands; stored, never inferred. What ENDED waits for a page to take it."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (JobState.QUEUED, JobState.RUNNING, JobState.ENDED)


class Job:
    """A generator of Progress that a worker thread drives; it can be watched and cancelled.

    The worker thread runs it to its end, and changes nothing that pages draw; `finish` gets the
    result when a page begins, so that none shows old and new at once. `problem` holds what made it
    fail, and `shown` whether the person has been told how it ended.
    """

    def __init__(
        self,
        kind: JobKind,
        title: str,
        steps: Callable[[], Steps[Any]],
        finish: Callable[[Any], None],
    ) -> None:
        self.kind, self.title = kind, title
        self.state = JobState.QUEUED
        self.progress = Progress(0.0, "Waiting for the job before it")
        self.problem: Exception | None = None
        self.shown = False
        self._steps = steps
        self._finish = finish
        self._cancel = threading.Event()
        self._started = 0.0
        self._result: Any = None

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs, or has ended and no page knows yet."""
        return self.state in ACTIVE

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds to go; None until there is something to judge by."""
        elapsed, done = time.monotonic() - self._started, self.progress.fraction
        if self.state is not JobState.RUNNING or done < 0.02 or elapsed < 1:
            return None
        return elapsed / done * (1 - done)

    def cancel(self) -> None:
        """Stop before the next step; what was finished by then is kept by whoever kept it."""
        self._cancel.set()
        if self.state is JobState.QUEUED:
            self.state = JobState.CANCELLED

    def run_to_end(self) -> None:
        """Drive the generator to its end, on the calling thread; what it found waits."""
        if self._cancel.is_set():
            self.state = JobState.CANCELLED
            return
        self.state, self._started = JobState.RUNNING, time.monotonic()
        self.progress = Progress(0.0, "Starting")
        try:
            with cancellable(self._cancel.is_set):
                self._drive_steps(self._steps())
        except Interrupted:
            _LOG.info("%s was cancelled in the middle of a step", self.title)
        except Exception as error:  # noqa: BLE001  the page shows it in its own words
            self.problem = error
        self.state = JobState.ENDED

    def _drive_steps(self, steps: Steps[Any]) -> None:
        while not self._cancel.is_set():
            try:
                self.progress = next(steps)
            except StopIteration as stop:
                self._result = stop.value
                return
        steps.close()

    def hand_over(self) -> None:
        """Give the result to whoever asked for it, on the calling thread, unless called off."""
        if self.state is not JobState.ENDED:
            return
        if self.problem is None and not self._cancel.is_set():
            try:
                self._finish(self._result)
            except Exception as error:  # noqa: BLE001  the page shows it in its own words
                self.problem = error
        called_off = JobState.CANCELLED if self._cancel.is_set() else JobState.DONE
        self.state = called_off if self.problem is None else JobState.FAILED


class JobRunner:
    """One worker thread and its queue; jobs run in the order in which they came.

    `ended` counts those that the thread is done with, taken or not, and `last` is the last taken,
    or one that failed beside it.
    """

    def __init__(self) -> None:
        self._lock, self._taking = threading.Lock(), threading.Lock()
        self._waiting: deque[Job] = deque()
        self._untaken: list[Job] = []
        self._busy = False
        self.ended = 0
        self.current: Job | None = None
        self.last: Job | None = None

    def submit(self, job: Job) -> Job:
        """Queue a job and return it."""
        with self._lock:
            self._waiting.append(job)
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._run_jobs, name="quantscope-jobs", daemon=True).start()
        return job

    @property
    def active_jobs(self) -> tuple[Job, ...]:
        """Jobs that have ended since the last page began, the one that runs, those that wait."""
        with self._lock:
            jobs = [*self._untaken, self.current, *self._waiting]
        return tuple(job for job in jobs if job is not None and job.is_active)

    def active_of(self, kind: JobKind) -> Job | None:
        """Return the job of a kind that waits or runs, if there is one."""
        return next((job for job in self.active_jobs if job.kind is kind), None)

    def take_results(self) -> int:
        """Hand over the results of the jobs that have ended; return how many ever did.

        For the beginning of a page run, before anything of the work has been read.
        """
        with self._taking:
            with self._lock:
                ended, count = list(self._untaken), self.ended
            for job in ended:
                job.hand_over()
            failed = [job for job in ended if job.state is JobState.FAILED]
            with self._lock:
                self.last = [self.last, *ended, *failed][-1]
                self._untaken = [job for job in self._untaken if job not in ended]
        return count

    def cancel_all(self) -> None:
        """Cancel everything."""
        for job in self.active_jobs:
            job.cancel()

    def _run_jobs(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                self.current = self._waiting.popleft()
            self.current.run_to_end()
            with self._lock:
                self._untaken.append(self.current)
                self.current = None
                self.ended += 1


def watch_jobs(runner: JobRunner, place: str, seen: int) -> None:
    """Show the jobs of `runner` with progress and Cancel, and redraw the page when one ends.

    `seen` is how many had ended when the page run began, as `take_results` returned it.
    """
    interval = 0.5 if runner.active_jobs else None

    @st.fragment(run_every=interval)
    def show_jobs() -> None:
        if runner.ended != seen:
            st.rerun()
        for number, job in enumerate(runner.active_jobs):
            st.progress(min(job.progress.fraction, 1.0), text=_progress_line(job))
            st.button(
                "Cancel", key=f"{place}.cancel.{number}", icon=":material/close:",
                on_click=job.cancel, help=f"Stop: {plain(job.title)}",
            )  # fmt: skip

    show_jobs()


def _progress_line(job: Job) -> str:
    left = job.remaining_s
    told = job.progress.text.endswith("left")  # some work knows its own time better
    time_left = "" if left is None or told else f", about {left:.0f} s left"
    return f"**{plain(job.title)}** · {plain(job.progress.text)}{time_left}"
