"""Forwards of many batches: compiled networks, a batch on each core, answers in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from analysis.network import Network, Runnable, forward_all_outputs
from analysis.process_settings import use_one_thread
from quant.engine.simulation import CompiledNetwork, compile_simulation
from quant.errors import CaptureError, QuantError
from quant.finite_values import (
    check_finite_outputs,
    first_overflowing_layer,
    outputs_as_numbers,
)
from quant.inputs import Inputs
from quant.simulation.quant_graph import QuantGraph

Given = TypeVar("Given")
Made = TypeVar("Made")


class LabelledBatch(Protocol):
    """Images (N, ...), labels (N,) or None, and the position of each image in the data.

    A batch may also have `targets`, for a user's metric.
    """

    @property
    def inputs(self) -> Inputs:
        """The images in the form of the network's inputs."""

    @property
    def labels(self) -> Tensor | None:
        """The true class of each image (N,), or None without labels."""

    @property
    def indices(self) -> tuple[int, ...]:
        """The position of each image in the whole data."""


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


class BothForwards:
    """Both networks; runs a batch, or finds the outputs of an interrupted score.

    Outputs of the quantized network that are NaN or infinite count as 0 (`numbers_of_batch`);
    `overflow_sentence` tells of them.
    """

    def __init__(
        self, network: Network, quantized: QuantGraph, stored: StoredOutputs | None
    ) -> None:
        self._network, self._quantized, self._stored = network, quantized, stored
        self._both = compile_both(network, quantized)
        self._images_without_numbers = 0
        self._first_layer = ""

    def __call__(
        self, numbered: tuple[int, LabelledBatch]
    ) -> tuple[int, LabelledBatch, tuple[tuple[Tensor, ...], tuple[Tensor, ...]], bool]:
        """Return place, batch, both outputs of shape (N, ...), and whether the batch ran.

        Raises:
            QuantError: a label is no output of the network, or a float output is not finite.
        """
        place, batch = numbered
        if self._network.is_classifier:
            check_label_range(batch.labels, self._network.output_count)
        known = None if self._stored is None else self._stored.find_outputs(place)
        return place, batch, known or self._run_batch(batch.inputs), known is None

    def _run_batch(self, inputs: Inputs) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        graph = self._network.graph
        reference, simulated = (forward_all_outputs(one, graph.batch, inputs) for one in self._both)
        check_finite_outputs(graph, inputs, reference)
        return reference, simulated

    def numbers_of_batch(self, inputs: Inputs, simulated: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return outputs of the quantized network, of shape (N, ...), with 0 for what is no number.

        Batches come in order, each once: the images are counted.
        """
        numbers, wrong = outputs_as_numbers(simulated)
        if wrong:
            self._images_without_numbers += wrong
            self._first_layer = self._first_layer or first_overflowing_layer(
                self._quantized.graph, inputs
            )
        return numbers

    def overflow_sentence(self, images: int) -> str:
        """Return a sentence on outputs that were no finite numbers; "" where all were."""
        wrong, noun = self._images_without_numbers, self._network.noun
        if not wrong:
            return ""
        return (
            f"The quantized network's outputs must be finite numbers; for {wrong} of {images} "
            f"{noun}s some are NaN or infinite, first after {self._first_layer}, and count as 0. "
            "A divisor that rounds to 0 does this: give that layer's inputs more bits, or leave "
            "them float."
        )


def check_label_range(labels: Tensor | None, outputs: int) -> None:
    """Raise QuantError unless every label (N,) is a class of the network, 0 to `outputs` - 1."""
    if labels is None:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= outputs:
        raise QuantError(
            f"Labels must lie between 0 and {outputs - 1}, the network's outputs; got "
            f"{low if low < 0 else high}. Choose data made for this model."
        )


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
