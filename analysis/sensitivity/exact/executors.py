"""Executors for the units of a sweep: the calling thread, a pool of threads, or a Dask cluster."""

import os
import queue
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Protocol

import torch

from analysis.process_settings import use_one_thread
from analysis.sensitivity.exact.work_unit import Outcome, Unit, run_work_unit
from quant.engine.program import Program


def available_core_count() -> int:
    """Return the number of cores available to the process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Outcomes = Generator[Outcome, None, None]


class Workers(Protocol):
    """Computes units in any order; the bits of the results are equal on every executor."""

    @property
    def count(self) -> int:
        """The number of units at once."""

    def run_units(self, program: Program, units: Iterator[Unit]) -> Outcomes:
        """Yield outcomes as units finish; takes units on demand. Closing stops the work."""


@dataclass(frozen=True, slots=True)
class Serial:
    """One unit after the other in the calling thread."""

    count: int = 1

    def run_units(self, program: Program, units: Iterator[Unit]) -> Outcomes:
        """Yield outcomes as units finish."""
        for unit in units:
            yield from run_work_unit(program, unit)


@dataclass(frozen=True, slots=True)
class Pool:
    """Threads of the process; a thread computes with one thread of torch.

    Torch releases the interpreter lock while computing, so threads use the cores without sending
    data. Threads also share the memory limit of a unit.
    """

    count: int = field(default_factory=available_core_count)

    def run_units(self, program: Program, units: Iterator[Unit]) -> Outcomes:
        """Yield outcomes as units finish; closing waits for the forwards in progress."""
        if self.count == 1:
            yield from Serial().run_units(program, units)
            return
        threads_before = torch.get_num_threads()
        stop = Event()
        results: queue.SimpleQueue[Outcome | Future[None]] = queue.SimpleQueue()

        def work(unit: Unit) -> None:
            share = replace(unit, memory_bytes=unit.memory_bytes // self.count)
            for outcome in run_work_unit(program, share):
                results.put(outcome)
                if stop.is_set():
                    return

        with ThreadPoolExecutor(self.count, initializer=use_one_thread) as pool:
            try:
                running = 0
                while True:
                    while running <= self.count and (unit := next(units, None)) is not None:
                        pool.submit(work, unit).add_done_callback(results.put)
                        running += 1
                    if running == 0:
                        break
                    item = results.get()
                    if isinstance(item, Outcome):
                        yield item
                    else:
                        running -= 1
                        item.result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
                # The pool's threads changed the default thread count of new threads.
                torch.set_num_threads(threads_before)
