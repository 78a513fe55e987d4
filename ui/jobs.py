"""Long work beside the page, in the only thread of the app; independent of quantization."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TypeVar

from quant.interruption import Interrupted, make_cancellable
from quant.progress import Progress, Steps
from quant.remaining_time import RemainingTime
from ui.job_kind import JobKind

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class JobState(StrEnum):
    """The state of a job, stored and never inferred; ENDED waits until a page takes the result.

    A CANCELLING job still runs: the job stops at the next place where stopping loses nothing.
    """

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    ENDED = "ended"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING, JobState.ENDED)


class Job:
    """A generator of Progress, driven by a worker thread; pages can watch and cancel the job.

    The worker thread runs the generator to the end, and changes nothing that pages draw. `finish`
    gets the result at the start of a page, so that a page never mixes old and new results.
    `problem` holds the error of a failed job, `known` the last results in words that the steps
    told, and `shown` tells whether the user has seen the end of the job.

    Nobody asked for a `background` job: the job gives way to the job of a person, and starts again
    after that job.
    """

    def __init__(
        self,
        kind: JobKind,
        title: str,
        steps: Callable[[], Steps[T]],
        finish: Callable[[T], None],
        *,
        background: bool = False,
    ) -> None:
        self.kind, self.title, self.background = kind, title, background
        self.id = uuid.uuid4().hex[:8]
        self.state = JobState.QUEUED
        self.progress, self.known = Progress(0.0, ""), ""
        self.problem: Exception | None = None
        self.shown = False

        def delivery() -> Steps[Callable[[], None]]:
            result = yield from steps()
            return partial(finish, result)

        self._steps = delivery
        self._lock = threading.Lock()  # of the state
        self._cancel, self._give_way = threading.Event(), threading.Event()
        self._remaining = RemainingTime(0.0)
        self._deliver: Callable[[], None] | None = None

    @property
    def is_active(self) -> bool:
        """Whether the job waits or runs, or has ended without a page to take the result."""
        return self.state in ACTIVE

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds to go, of the present stage in work with stages; None at the start."""
        if self.state is not JobState.RUNNING:
            return None
        return self._remaining.seconds_left(time.monotonic())

    def cancel(self) -> None:
        """Stop the job before the next step; results that steps have stored stay."""
        self._cancel.set()
        with self._lock:
            if self.state is JobState.QUEUED:
                self.state = JobState.CANCELLED
            elif self.state is JobState.RUNNING:
                self.state = JobState.CANCELLING

    def give_way(self) -> None:
        """Stop a background job before the next step; the job waits and starts again later."""
        if self.background:
            self._give_way.set()

    def run_to_end(self) -> None:
        """Drive the generator to the end, on the calling thread; the job keeps the result.

        A background job that gave way is QUEUED afterwards.
        """
        with self._lock:
            if self._cancel.is_set():
                self.state = JobState.CANCELLED
                return
            self.state = JobState.RUNNING
        self._give_way.clear()
        self._remaining = RemainingTime(time.monotonic())
        self.progress, self.known = Progress(0.0, "Starting"), ""
        try:
            with make_cancellable(self._must_stop):
                self._drive_steps(self._steps())
        except Interrupted:
            _LOG.info("%s was stopped in the middle of a step", self.title)
        except Exception as error:  # noqa: BLE001  the page shows it in its own words
            self.problem = error
        unfinished = self._deliver is None and self.problem is None
        with self._lock:
            again = unfinished and self._give_way.is_set() and not self._cancel.is_set()
            self.state = JobState.QUEUED if again else JobState.ENDED

    def _must_stop(self) -> bool:
        return self._cancel.is_set() or self._give_way.is_set()

    def _drive_steps(self, steps: Steps[Callable[[], None]]) -> None:
        while not self._must_stop():
            try:
                self.progress = next(steps)
                self.known = self.progress.known or self.known
                done, stage = self.progress.fraction, self.progress.stage
                self._remaining.add_progress(time.monotonic(), done, stage)
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
    """A worker thread with a queue; the jobs of a person run in the order of their arrival.

    Background jobs run when no job of a person waits; a running background job gives way. `ended`
    counts the jobs that the thread has ended, taken or not. `last` is the job taken last, or a
    failed job taken together with the last job.
    """

    def __init__(self) -> None:
        self._lock, self._taking = threading.Lock(), threading.Lock()
        self._waiting: list[Job] = []
        self._untaken: list[Job] = []
        self._busy = False
        self.ended = 0
        self.current: Job | None = None
        self.last: Job | None = None

    def submit(self, job: Job) -> Job:
        """Queue a job and return the job."""
        with self._lock:
            self._waiting.insert(self._place_in_queue(job), job)
            if not job.background and self.current is not None:
                self.current.give_way()
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._run_jobs, name="quantscope-jobs", daemon=True).start()
        return job

    def _place_in_queue(self, job: Job) -> int:
        """Return the place behind the jobs of the same kind of asker; background jobs come last."""
        if job.background:
            return len(self._waiting)
        return sum(not waiting.background for waiting in self._waiting)

    def job_before(self, job: Job) -> Job | None:
        """Return the job that a waiting job waits for: the running job, or the next to run."""
        with self._lock:
            queue = [one for one in (self.current, *self._waiting) if one is not None]
        ahead = queue[: queue.index(job)] if job in queue else []
        return next((one for one in ahead if one.is_active), None)

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
                self.current = self._waiting.pop(0)
            self.current.run_to_end()
            with self._lock:
                job, self.current = self.current, None
                if job.state is JobState.QUEUED:  # gave way
                    persons = sum(not waiting.background for waiting in self._waiting)
                    self._waiting.insert(persons, job)
                    continue
                self._untaken.append(job)
                self.ended += 1
