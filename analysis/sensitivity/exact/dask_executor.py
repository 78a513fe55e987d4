"""Runs the units of a sweep on a Dask cluster: workers on other machines or on this machine.

Each worker needs the project's folder on its path and the same version of torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.process_settings import keep_freed_memory
from analysis.sensitivity.exact.executors import Outcomes, settle_threads
from analysis.sensitivity.exact.work_unit import Outcome, Unit, run_unit
from quant.engine.program import Program
from quant.errors import QuantError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 10
ATTEMPTS = 3
"""The attempts for a unit before the sweep gives up."""
# Units carry images, so that the scheduler can send a unit to another worker when a worker dies.
_SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1GiB"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a scheduler; `count` is the number of units that run at once."""

    address: str
    count: int

    def run(self, program: Program, units: Iterator[Unit]) -> Outcomes:
        """Yield outcomes as units finish; Dask moves the units of a dead worker to other workers.

        Raises:
            QuantError: the scheduler does not answer, or units fail on several workers.
        """
        client = _connect(self.address)
        try:
            yield from _UnitQueue(client, program, units, 2 * self.count).outcomes()
        finally:
            client.close()


def open_cluster(address: str) -> Cluster:
    """Return the workers of the scheduler at an address such as tcp://host:8786.

    Raises:
        QuantError: no scheduler answers, the scheduler has no workers, or Dask is not installed.
    """
    client = _connect(address)
    try:
        count = sum(client.nthreads().values())
    finally:
        client.close()
    if count == 0:
        raise QuantError(f"A scheduler must have workers; {address} has none. Start some.")
    return Cluster(address, count)


def _connect(address: str) -> "Client":
    try:
        from distributed import Client  # noqa: PLC0415  slow to import, and rarely wanted
    except ImportError:
        raise QuantError(
            "A cluster needs the package distributed; it is not installed. Install it, or leave "
            "the scheduler out."
        ) from None
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
        self._program = self._submit(_identity, program)
        self._running: dict[Any, tuple[Unit, int]] = {}

    def outcomes(self) -> Outcomes:
        """Yield outcomes as units finish; closing cancels the units in progress."""
        from distributed import as_completed  # noqa: PLC0415

        done = as_completed(loop=self._client.loop)
        try:
            self._fill(done)
            while self._running:
                future = next(done)
                unit, attempts = self._running.pop(future)
                results = self._result(future, unit, attempts, done)
                self._fill(done)
                yield from results
        finally:
            self._client.cancel([*self._running, self._program])

    def _fill(self, done: Any) -> None:
        while len(self._running) < self._most and (unit := next(self._units, None)) is not None:
            self._send(unit, 0, done)

    def _send(self, unit: Unit, attempts: int, done: Any) -> None:
        future = self._submit(compute_unit, self._program, unit)
        self._running[future] = unit, attempts
        done.add(future)

    def _submit(self, *task: Any) -> Any:
        import dask  # noqa: PLC0415

        with dask.config.set(_SETTINGS):
            return self._client.submit(*task, pure=False)

    def _result(self, future: Any, unit: Unit, attempts: int, done: Any) -> list[Outcome]:
        from distributed import CancelledError, KilledWorker  # noqa: PLC0415

        try:
            outcomes: list[Outcome] = future.result()
        except (KilledWorker, CancelledError) as error:
            if attempts + 1 >= ATTEMPTS:
                raise QuantError(
                    f"A cluster's workers must stay alive; they died {ATTEMPTS} times over the "
                    "same images. Give them more memory, or the sweep less."
                ) from error
            self._send(unit, attempts + 1, done)
            return []
        return outcomes


def compute_unit(program: Program, unit: Unit) -> list[Outcome]:
    """Compute a unit on the worker."""
    keep_freed_memory()
    settle_threads()
    return list(run_unit(program, unit))


def _identity(program: Program) -> Program:
    return program
