"""The units of a sweep on a Dask cluster: workers on other machines, or more of them here.

Each worker needs this project's folder on its path and the same version of torch.
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
"""So often a unit is sent again when Dask itself has given up on it."""
# units carry images, so that the scheduler can send them to another worker when one dies
_SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1GiB"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers behind a scheduler; `count` is how many units they run at once."""

    address: str
    count: int

    def run(self, program: Program, units: Iterator[Unit]) -> Outcomes:
        """Yield outcomes as they come; Dask moves the units of a worker that dies to others.

        Raises:
            QuantError: the scheduler does not answer, or units fail on several workers.
        """
        client = _connect(self.address)
        try:
            yield from _Sending(client, program, units, 2 * self.count).outcomes()
        finally:
            client.close()


def open_cluster(address: str) -> Cluster:
    """Return the workers behind the scheduler at an address such as tcp://host:8786.

    Raises:
        QuantError: no scheduler answers there, it has no workers, or Dask is not installed.
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


class _Sending:
    """Units under way: at most `most` at once, each sent again if it is lost."""

    def __init__(
        self, client: "Client", program: Program, units: Iterator[Unit], most: int
    ) -> None:
        self._client, self._units, self._most = client, units, most
        # a task's result, unlike scattered data, is made again when its worker dies
        self._program = self._submit(_same, program)
        self._running: dict[Any, tuple[Unit, int]] = {}

    def outcomes(self) -> Outcomes:
        """Yield outcomes as units finish; closing cancels what is under way."""
        from distributed import as_completed  # noqa: PLC0415

        done = as_completed(loop=self._client.loop)
        try:
            self._fill(done)
            while self._running:
                future = next(done)
                unit, attempts = self._running.pop(future)
                found = self._result(future, unit, attempts, done)
                self._fill(done)
                yield from found
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
            found: list[Outcome] = future.result()
        except (KilledWorker, CancelledError) as error:
            if attempts + 1 >= ATTEMPTS:
                raise QuantError(
                    f"A cluster's workers must stay alive; they died {ATTEMPTS} times over the "
                    "same images. Give them more memory, or the sweep less."
                ) from error
            self._send(unit, attempts + 1, done)
            return []
        return found


def compute_unit(program: Program, unit: Unit) -> list[Outcome]:
    """Compute a unit where it was sent."""
    keep_freed_memory()
    settle_threads()
    return list(run_unit(program, unit))


def _same(program: Program) -> Program:
    return program
