"""A unit of a sweep: a chunk of images and a set of questions.

The layers before a question's layer run once for the questions of the unit.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from analysis.evaluation.per_image import Rows, compare_image_outputs, describe_float_outputs
from analysis.sensitivity.memory_limit import MEMORY_BYTES
from quant.encoding import Encoding
from quant.engine.program import FLOAT, Program, Settings, Values
from quant.finite_values import outputs_as_numbers
from quant.inputs import Inputs, arrange_batch, sample_count


@dataclass(frozen=True, eq=False, slots=True)
class ChunkQuestion:
    """One question about a chunk: `on` are encodings added to the base, `off` sites removed.

    `key` identifies the question in the store.
    """

    key: str
    on: Mapping[str, Encoding] = field(default_factory=dict)
    off: tuple[str, ...] = ()

    @property
    def different_sites(self) -> tuple[str, ...]:
        """The sites that differ from the base."""
        return (*self.on, *self.off)


@dataclass(frozen=True, eq=False, slots=True)
class Unit:
    """Work for one process: a chunk of images, the encodings of the base network, and questions.

    `inputs` (N, ...) and `labels` (N,) or None belong to the chunk `chunk`; `reference` holds the
    float network's outputs, if known. Results of the float network have the key `float_key`,
    results of the base `base_key`, if requested. `memory_bytes` bounds the stored values between
    layers. Without `reuse` every question runs the whole network.
    """

    chunk: str
    inputs: Inputs
    labels: Tensor | None
    base: Mapping[str, Encoding]
    trials: tuple[ChunkQuestion, ...]
    float_key: str
    base_key: str | None = None
    reference: tuple[Tensor, ...] | None = None
    memory_bytes: int = MEMORY_BYTES
    reuse: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """A row for each image of a chunk under one key, and the multiply-accumulates spent.

    `reference` comes with the rows of the float network.
    """

    key: str
    chunk: str
    rows: Rows
    macs: int
    reference: tuple[Tensor, ...] | None = None


def run_work_unit(program: Program, unit: Unit) -> Iterator[Outcome]:
    """Yield an outcome for the float network and the base if requested, then for each question.

    A forward runs in one thread of torch, so the bits of the results are equal on every executor.
    """
    work = _Work(program, unit)
    if unit.reference is None:
        yield work.float_outcome()
    if unit.base_key is not None:
        yield work.base_outcome(unit.base_key)
    for trial in sorted(
        unit.trials, key=lambda trial: program.restart_position(trial.different_sites)
    ):
        yield work.answer_question(trial)


def outputs_of_unit(program: Program, unit: Unit) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """Yield (key, outputs of shape (N, ...)) of the float network, the base and each question."""
    work = _Work(program, unit)
    if unit.reference is None:
        yield unit.float_key, work.float_outputs()
    if unit.base_key is not None:
        yield unit.base_key, work.base_outputs()
    for trial in sorted(
        unit.trials, key=lambda trial: program.restart_position(trial.different_sites)
    ):
        yield trial.key, work.question_outputs(trial)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Compute without gradients in one thread of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


class _Work:
    """A unit in progress: the base's values at a position that moves from layer to layer."""

    def __init__(self, program: Program, unit: Unit) -> None:
        self._program, self._unit = program, unit
        self._count = sample_count(unit.inputs)
        self._reference = unit.reference
        self._macs = 0
        with single_threaded():
            self._settings = program.settle_weights(unit.base)
            self._inputs = arrange_batch(unit.inputs, program.portable.batch)
        self._stored: dict[int, Values] = {}
        self._place, self._values = 0, program.start_values(self._inputs)

    def float_outputs(self) -> tuple[Tensor, ...]:
        """Run the float network, a base without encodings; return outputs of shape (N, ...)."""
        with single_threaded():
            if self._unit.base:
                start = self._program.start_values(self._inputs)
                self._reference = self._finish_network(start, 0, FLOAT)
            else:
                self._reference = self._run_base()
            return self._reference

    def float_outcome(self) -> Outcome:
        """Describe the outputs of the float network."""
        reference = self.float_outputs()
        with single_threaded():
            rows = describe_float_outputs(reference, self._unit.labels)
        return self._outcome_of_rows(self._unit.float_key, rows, reference)

    def base_outputs(self) -> tuple[Tensor, ...]:
        """Run the base network; return outputs of shape (N, ...)."""
        with single_threaded():
            return outputs_as_numbers(self._run_base())[0]

    def base_outcome(self, key: str) -> Outcome:
        """Compare the outputs of the base network."""
        outputs = self.base_outputs()
        with single_threaded():
            return self._outcome_of_comparison(key, outputs)

    def answer_question(self, trial: ChunkQuestion) -> Outcome:
        """Compare the outputs of a question."""
        outputs = self.question_outputs(trial)
        with single_threaded():
            return self._outcome_of_comparison(trial.key, outputs)

    def question_outputs(self, trial: ChunkQuestion) -> tuple[Tensor, ...]:
        """Run the layers from the first differing site; return outputs of shape (N, ...)."""
        with single_threaded():
            settings = {
                site: encoding for site, encoding in self._settings.items() if site not in trial.off
            }
            settings.update(self._program.settle_weights(trial.on))
            if not self._unit.reuse:
                values, position = self._program.start_values(self._inputs), 0
            else:
                position = self._program.restart_position(trial.different_sites)
                values = dict(self._base_values_at(position))
            return outputs_as_numbers(self._finish_network(values, position, settings))[0]

    def _run_base(self) -> tuple[Tensor, ...]:
        """Run the base to the end and return the outputs of shape (N, ...).

        The values at the starts of questions are stored, as memory allows.
        """
        values, place = self._program.start_values(self._inputs), 0
        for position in self._affordable_positions():
            self._run_steps(values, place, position, self._settings)
            self._stored[position], place = dict(values), position
        return self._finish_network(values, place, self._settings)

    def _affordable_positions(self) -> list[int]:
        """Return the positions to store, from the end back: values of early layers are large."""
        if not self._unit.reuse:
            return []
        positions = {
            self._program.restart_position(trial.different_sites) for trial in self._unit.trials
        }
        copies = 2 if self._unit.base else 1  # the value before quantization and after
        stored: list[int] = []
        for position in sorted(positions, reverse=True):
            needed = self._program.checkpoint_bytes((*stored, position)) * sample_count(
                self._inputs
            )
            if copies * needed > self._unit.memory_bytes:
                break
            stored.append(position)
        return stored[::-1]

    def _base_values_at(self, position: int) -> Values:
        """Return the base's values at a position at or after the last position."""
        if position in self._stored:
            self._values = self._stored.pop(position)
        elif position > self._place:
            self._run_steps(self._values, self._place, position, self._settings)
        self._place = position
        return self._values

    def _run_steps(self, values: Values, start: int, stop: int, settings: Settings) -> None:
        self._program.run_steps(values, start, stop, settings)
        self._macs += self._count * self._program.macs_between(start, stop)

    def _finish_network(self, values: Values, start: int, settings: Settings) -> tuple[Tensor, ...]:
        self._run_steps(values, start, len(self._program), settings)
        return tuple(output[: self._count] for output in self._program.result_tensors(values))

    def _outcome_of_comparison(self, key: str, output: tuple[Tensor, ...]) -> Outcome:
        if self._reference is None:
            raise RuntimeError("The float network runs first.")
        return self._outcome_of_rows(
            key, compare_image_outputs(self._reference, output, self._unit.labels)
        )

    def _outcome_of_rows(
        self, key: str, rows: Rows, reference: tuple[Tensor, ...] | None = None
    ) -> Outcome:
        macs, self._macs = self._macs, 0
        return Outcome(key, self._unit.chunk, rows, macs, reference)
