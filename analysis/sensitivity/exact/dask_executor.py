"""Runs the units of a sweep on a Dask cluster: workers on other machines or on the local machine.

Scheduler and workers need the project's folder on the path and an equal version of torch;
`_check_place` checks both before the first unit.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from analysis.process_settings import keep_freed_memory, use_one_thread
from analysis.sensitivity.exact.executors import Outcomes
from analysis.sensitivity.exact.work_unit import Outcome, Unit, run_work_unit
from quant.engine.program import Program
from quant.errors import QuantError

if TYPE_CHECKING:
    from distributed import Client, Future, as_completed

T = TypeVar("T")
CONNECT_S = 8
ANSWER_S = 30  # a worker that imports torch from a cold or busy disk needs more than 8
"""Seconds for a worker to import the project, and for a client to close."""
POLL_S = 0.02
ATTEMPTS = 3
"""The attempts for a unit before the sweep gives up."""
# Units carry images, so that the scheduler can send a unit to another worker when a worker dies.
_SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1GiB"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a scheduler; `count` is the number of units that run at once."""

    address: str
    count: int

    def run_units(self, program: Program, units: Iterator[Unit]) -> Outcomes:
        """Yield outcomes as units finish; Dask moves the units of a dead worker to other workers.

        Raises:
            QuantError: the scheduler does not answer, or units fail on several workers.
        """
        client = _connect_to_scheduler(self.address)
        try:
            yield from _UnitQueue(client, program, units, 2 * self.count).yield_outcomes()
        finally:
            client.close(timeout=ANSWER_S)


def open_dask_cluster(address: str) -> Cluster:
    """Return the workers of the scheduler at an address such as tcp://host:8786.

    Raises:
        QuantError: no scheduler answers, the scheduler has no workers, a scheduler or worker
            cannot import the project, or Dask is not installed.
    """
    client = _connect_to_scheduler(address)
    try:
        _check_place(client.run_on_scheduler, f"The scheduler at {address}", client)
        count = sum(client.nthreads().values())
        if count == 0:
            raise QuantError(f"A scheduler must have workers; {address} has none. Start some.")
        _check_place(client.run, f"The workers of {address}", client)
    finally:
        client.close(timeout=ANSWER_S)
    return Cluster(address, count)


def _check_place(run: Callable[..., Awaitable[object]], place: str, client: "Client") -> None:
    """Raise QuantError if the processes behind `run` lack the project or the version of torch.

    The built-in `exec` and `eval` are sent, because a function of the project could not arrive.
    """
    try:
        client.sync(_wait_for_answer, run(exec, f"import {__name__}", asynchronous=True))
        asked = run(eval, "__import__('torch').__version__", asynchronous=True)
        answer = client.sync(_wait_for_answer, asked)
    except Exception as error:  # noqa: BLE001  whatever the other process raised arrives here
        text = (str(error).splitlines() or [""])[0][:200]
        raise QuantError(
            f"{place} must import QuantScope, got {type(error).__name__}: {text or 'no answer'}. "
            "Install requirements.txt there, and start it with PYTHONPATH set to QuantScope's "
            "folder."
        ) from None
    versions = set(answer.values()) if isinstance(answer, dict) else {answer}
    if versions != {torch.__version__}:
        raise QuantError(
            f"{place} must have torch {torch.__version__} as here, got "
            f"{', '.join(sorted(versions))}; other versions give other numbers."
        )


async def _wait_for_answer(answer: Awaitable[T]) -> T:
    """Return an answer of the cluster; TimeoutError where it takes longer than ANSWER_S."""
    return await asyncio.wait_for(answer, ANSWER_S)


def _connect_to_scheduler(address: str) -> "Client":
    try:
        from distributed import Client  # noqa: PLC0415  slow to import, and rarely wanted
    except ImportError:
        raise QuantError(
            "A cluster needs the package distributed; it is not installed. Install it, or leave "
            "the scheduler out."
        ) from None
    # Dask logs what happens to a connection on standard error; here a sentence says it.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise QuantError(
            f"A Dask scheduler must answer at {address}; {error or type(error).__name__}. "
            "Check the address, such as tcp://host:8786."
        ) from None


class _UnitQueue:
    """Units in progress: at most `most` at once; a lost unit is sent again."""

    def __init__(
        self, client: "Client", program: Program, units: Iterator[Unit], most: int
    ) -> None:
        self._client, self._units, self._most = client, units, most
        # Dask recomputes a task's result when a worker dies, unlike scattered data.
        self._program = self._submit_call(_return_program, program)
        self._running: dict[Any, tuple[Unit, int]] = {}

    def yield_outcomes(self) -> Outcomes:
        """Yield outcomes as units finish; closing cancels the units in progress."""
        from distributed import as_completed  # noqa: PLC0415

        done = as_completed(loop=self._client.loop)
        try:
            self._fill_queue(done)
            while self._running:
                future = self._next_done(done)
                unit, attempts = self._running.pop(future)
                results = self._unit_result(future, unit, attempts, done)
                self._fill_queue(done)
                yield from results
        finally:
            if self._client.status == "running":
                self._client.cancel([*self._running, self._program])

    def _next_done(self, done: "as_completed") -> "Future[list[Outcome]]":
        """Return the next finished unit; raise QuantError after the loss of the scheduler."""
        while not done.has_ready():
            self._check_scheduler()
            time.sleep(POLL_S)
        return next(done)

    def _check_scheduler(self) -> None:
        if self._client.status != "running":
            raise QuantError(
                "The cluster's scheduler must answer until the sweep ends; the connection was "
                "lost. Answers so far are kept: start the scheduler and ask again."
            )

    def _fill_queue(self, done: "as_completed") -> None:
        while len(self._running) < self._most and (unit := next(self._units, None)) is not None:
            self._send_unit(unit, 0, done)

    def _send_unit(self, unit: Unit, attempts: int, done: "as_completed") -> None:
        future = self._submit_call(compute_work_unit, self._program, unit)
        self._running[future] = unit, attempts
        done.add(future)

    def _submit_call(self, task: Callable[..., object], *inputs: object) -> "Future[Any]":
        import dask  # noqa: PLC0415

        with dask.config.set(_SETTINGS):
            return self._client.submit(task, *inputs, pure=False)

    def _unit_result(
        self, future: "Future[list[Outcome]]", unit: Unit, attempts: int, done: "as_completed"
    ) -> list[Outcome]:
        from distributed import CancelledError, KilledWorker  # noqa: PLC0415

        try:
            outcomes: list[Outcome] = future.result()
        except (KilledWorker, CancelledError) as error:
            self._check_scheduler()
            if attempts + 1 >= ATTEMPTS:
                raise QuantError(
                    f"A cluster's workers must stay alive; they died {ATTEMPTS} times over the "
                    "same images. Give them more memory, or the sweep less."
                ) from error
            self._send_unit(unit, attempts + 1, done)
            return []
        return outcomes


def compute_work_unit(program: Program, unit: Unit) -> list[Outcome]:
    """Compute a unit on the worker."""
    keep_freed_memory()
    use_one_thread()
    return list(run_work_unit(program, unit))


def _return_program(program: Program) -> Program:
    return program
