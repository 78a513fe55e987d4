"""Long work beside the page, in the only thread of the app; independent of quantization."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TypeVar

import streamlit as st

from quant.interruption import Interrupted, make_cancellable
from quant.progress import Progress, Steps
from ui.job_kind import JobKind
from ui.plain_text import plain
from ui.remaining_time import RemainingTime

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class JobState(StrEnum):
    """The state of a job, stored and never inferred; ENDED waits until a page takes the result."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (JobState.QUEUED, JobState.RUNNING, JobState.ENDED)


class Job:
    """A generator of Progress, driven by a worker thread; pages can watch and cancel the job.

    The worker thread runs the generator to the end, and changes nothing that pages draw. `finish`
    gets the result at the start of a page, so that a page never mixes old and new results.
    `problem` holds the error of a failed job, and `shown` tells whether the user has seen the end
    of the job.
    """

    def __init__(
        self,
        kind: JobKind,
        title: str,
        steps: Callable[[], Steps[T]],
        finish: Callable[[T], None],
    ) -> None:
        self.kind, self.title = kind, title
        self.state = JobState.QUEUED
        self.progress = Progress(0.0, "Waiting for the job before it")
        self.problem: Exception | None = None
        self.shown = False

        def delivery() -> Steps[Callable[[], None]]:
            result = yield from steps()
            return partial(finish, result)

        self._steps = delivery
        self._cancel = threading.Event()
        self._remaining = RemainingTime(0.0)
        self._deliver: Callable[[], None] | None = None

    @property
    def is_active(self) -> bool:
        """Whether the job waits or runs, or has ended without a page to take the result."""
        return self.state in ACTIVE

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds to go; None at the start, without enough progress for an estimate."""
        if self.state is not JobState.RUNNING:
            return None
        return self._remaining.seconds_left(time.monotonic())

    def cancel(self) -> None:
        """Stop the job before the next step; results that steps have stored stay."""
        self._cancel.set()
        if self.state is JobState.QUEUED:
            self.state = JobState.CANCELLED

    def run_to_end(self) -> None:
        """Drive the generator to the end, on the calling thread; the job keeps the result."""
        if self._cancel.is_set():
            self.state = JobState.CANCELLED
            return
        self.state, self._remaining = JobState.RUNNING, RemainingTime(time.monotonic())
        self.progress = Progress(0.0, "Starting")
        try:
            with make_cancellable(self._cancel.is_set):
                self._drive_steps(self._steps())
        except Interrupted:
            _LOG.info("%s was cancelled in the middle of a step", self.title)
        except Exception as error:  # noqa: BLE001  the page shows it in its own words
            self.problem = error
        self.state = JobState.ENDED

    def _drive_steps(self, steps: Steps[Callable[[], None]]) -> None:
        while not self._cancel.is_set():
            try:
                self.progress = next(steps)
                self._remaining.add_progress(time.monotonic(), self.progress.fraction)
            except StopIteration as stop:
                self._deliver = stop.value
                return
        steps.close()

    def hand_over(self) -> None:
        """Call `finish` with the result on the calling thread, unless the job was cancelled."""
        if self.state is not JobState.ENDED:
            return
        if self._deliver is not None and not self._cancel.is_set():
            try:
                self._deliver()
            except Exception as error:  # noqa: BLE001  the page shows it in its own words
                self.problem = error
        called_off = JobState.CANCELLED if self._cancel.is_set() else JobState.DONE
        self.state = called_off if self.problem is None else JobState.FAILED


class JobRunner:
    """A worker thread with a queue; jobs run in the order of their arrival.

    `ended` counts the jobs that the thread has ended, taken or not. `last` is the job taken last,
    or a failed job taken together with the last job.
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
        """Queue a job and return the job."""
        with self._lock:
            self._waiting.append(job)
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._run_jobs, name="quantscope-jobs", daemon=True).start()
        return job

    @property
    def active_jobs(self) -> tuple[Job, ...]:
        """The jobs that ended since the last page began, the running job, and the waiting jobs."""
        with self._lock:
            jobs = [*self._untaken, self.current, *self._waiting]
        return tuple(job for job in jobs if job is not None and job.is_active)

    def active_of(self, kind: JobKind) -> Job | None:
        """Return the waiting or running job of a kind; None without a job."""
        return next((job for job in self.active_jobs if job.kind is kind), None)

    def take_results(self) -> int:
        """Hand over the results of the ended jobs; return the number of jobs that ever ended.

        A page run calls the function first, before reading a part of the work.
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
        """Cancel the jobs."""
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
    """Show the jobs of `runner` with progress and Cancel, and redraw the page at the end of a job.

    `seen` is the number of ended jobs at the start of the page run, as `take_results` returned.
    """
    interval = 0.5 if runner.active_jobs else None

    @st.fragment(run_every=interval)
    def show_jobs() -> None:
        if runner.ended != seen:
            st.rerun()
        for number, job in enumerate(runner.active_jobs):
            st.progress(min(job.progress.fraction, 1.0), text=_progress_line(job))
            st.button(
                "Cancel",
                key=f"{place}.cancel.{number}",
                icon=":material/close:",
                on_click=job.cancel,
                help=f"Stop: {plain(job.title)}",
            )

    show_jobs()


def _progress_line(job: Job) -> str:
    left = job.remaining_s
    told = job.progress.text.endswith("left")  # some work knows its own time better
    time_left = "" if left is None or told else f", about {left:.0f} s left"
    return f"**{plain(job.title)}** · {plain(job.progress.text)}{time_left}"
