"""Who computes the units of a sweep: this thread, a pool of threads, or a Dask cluster."""

import os
import queue
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Protocol

import torch

from analysis.sensitivity.exact.work_unit import Outcome, Unit, run_unit
from quant.engine.program import Program


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Outcomes = Generator[Outcome, None, None]


class Workers(Protocol):
    """Computes units in any order; results are the same bits whoever computes them."""

    @property
    def count(self) -> int:
        """How many units run at once."""

    def run(self, program: Program, units: Iterator[Unit]) -> Outcomes:
        """Yield outcomes as they come; takes units as it needs them. Closing it stops the work."""


@dataclass(frozen=True, slots=True)
class Serial:
    """One unit after the other in the calling thread."""

    count: int = 1

    def run(self, program: Program, units: Iterator[Unit]) -> Outcomes:
        """Yield outcomes as they come."""
        for unit in units:
            yield from run_unit(program, unit)


@dataclass(frozen=True, slots=True)
class Pool:
    """Threads of this process, each with one thread of torch.

    Torch lets go of the interpreter while it computes, so threads share the cores as processes
    would, and nothing has to be sent. They also share the memory that a unit may keep.
    """

    count: int = field(default_factory=available_cores)

    def run(self, program: Program, units: Iterator[Unit]) -> Outcomes:
        """Yield outcomes as they come; closing waits for the forwards that are under way."""
        if self.count == 1:
            yield from Serial().run(program, units)
            return
        threads_before = torch.get_num_threads()
        stop = Event()
        found: queue.SimpleQueue[Outcome | Future[None]] = queue.SimpleQueue()

        def work(unit: Unit) -> None:
            share = replace(unit, memory_bytes=unit.memory_bytes // self.count)
            for outcome in run_unit(program, share):
                found.put(outcome)
                if stop.is_set():
                    return

        with ThreadPoolExecutor(self.count, initializer=settle_threads) as pool:
            try:
                running = 0
                while True:
                    while running <= self.count and (unit := next(units, None)) is not None:
                        pool.submit(work, unit).add_done_callback(found.put)
                        running += 1
                    if running == 0:
                        break
                    item = found.get()
                    if isinstance(item, Outcome):
                        yield item
                    else:
                        running -= 1
                        item.result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
                # what a new thread starts with was changed by the pool's own
                torch.set_num_threads(threads_before)


def settle_threads() -> None:
    """Fix torch's threads for this thread: it looks up the process's number once, before use."""
    torch.get_num_threads()
    torch.set_num_threads(1)
