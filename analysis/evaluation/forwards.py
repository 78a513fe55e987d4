"""Forwards of many batches: compiled networks, a batch on each core, answers in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from analysis.network import Network, Runnable
from analysis.process_settings import use_one_thread
from quant.engine.simulation import CompiledNetwork, compile_simulation
from quant.errors import CaptureError
from quant.simulation.quant_graph import QuantGraph

Given = TypeVar("Given")
Made = TypeVar("Made")


class StoredOutputs(Protocol):
    """Outputs of an interrupted score, batch by batch."""

    def find_outputs(self, place: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None:
        """Return the outputs of both networks for a batch, of shape (N, ...), or None."""

    def keep_outputs(
        self, place: int, references: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        """Store the outputs of a batch, of shape (N, ...)."""

    def flush_outputs(self) -> None:
        """Write the unwritten outputs."""

    def forget_outputs(self) -> None:
        """Drop the outputs: the score is whole."""


def compile_both(network: Network, quantized: Runnable) -> tuple[Runnable, Runnable]:
    """Return the float and the simulated network for forwards, both in one executor.

    Compiled networks are faster than graphs, and round otherwise in the last bits; where one
    cannot be compiled, both stay graphs.
    """
    if not isinstance(quantized, QuantGraph):
        return network.graph, quantized
    try:
        return CompiledNetwork(network.compiled_program, {}), compile_simulation(quantized)
    except CaptureError:
        return network.graph, quantized


def run_in_order(work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """Yield the results of `work` in the order of the items, some items at once.

    As many items run at once as torch has threads, each in one thread: whole batches need no
    hand-over between layers, and the bits do not depend on the number of threads. At most one item
    more than the threads is read ahead.
    """
    count = torch.get_num_threads()
    if count == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Made]] = deque()
    try:
        with ThreadPoolExecutor(count, "forwards", use_one_thread) as pool:
            try:
                for item in items:
                    waiting.append(pool.submit(work, item))
                    if len(waiting) > count:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        # the pool's threads changed the default thread count of new threads
        torch.set_num_threads(count)
