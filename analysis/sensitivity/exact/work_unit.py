"""A unit of a sweep: some images and some questions put to them.

What lies before a question's layer runs once for all of them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from analysis.evaluation.per_image import Rows, compare_outputs, describe_float_outputs
from analysis.sensitivity.sweep import MEMORY_BYTES
from quant.encoding import Encoding
from quant.engine.program import FLOAT, Program, Settings, Values
from quant.inputs import Inputs, arranged, count_of


@dataclass(frozen=True, eq=False, slots=True)
class ChunkQuestion:
    """One question put to a chunk: `on` are grids beyond those of the base, `off` those it lacks.

    `key` names the question in the store.
    """

    key: str
    on: Mapping[str, Encoding] = field(default_factory=dict)
    off: tuple[str, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites at which the trial differs from the base."""
        return (*self.on, *self.off)


@dataclass(frozen=True, eq=False, slots=True)
class Unit:
    """Work for one process: a chunk of images, the grids of the base network, and trials.

    `inputs` (N, ...) and `labels` (N,) or None are the chunk named `chunk`; `reference` has the
    float network's outputs on it, where known. Results of the float network go under `float_key`,
    those of the base under `base_key`, where wanted. `memory_bytes` bounds the values that are kept
    between layers. Without `reuse` every trial runs the whole network: the sweep that others do.
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
    """A row for each image of a chunk under one key; what it took in multiply-accumulates.

    `reference` comes with the float network's rows.
    """

    key: str
    chunk: str
    rows: Rows
    macs: int
    reference: tuple[Tensor, ...] | None = None


def run_unit(program: Program, unit: Unit) -> Iterator[Outcome]:
    """Yield an outcome for the float network and the base where wanted, then for each trial.

    Every forward runs in one thread of torch, so results are the same bits wherever it runs.
    """
    work = _Work(program, unit)
    if unit.reference is None:
        yield work.float_outcome()
    if unit.base_key is not None:
        yield work.base_outcome(unit.base_key)
    for trial in sorted(unit.trials, key=lambda trial: program.position(trial.sites)):
        yield work.answer(trial)


@contextmanager
def computing() -> Iterator[None]:
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
        self._count = count_of(unit.inputs)
        self._reference = unit.reference
        self._macs = 0
        with computing():
            self._settings = program.settle(unit.base)
            self._inputs = arranged(unit.inputs, program.portable.batch)
        self._kept: dict[int, Values] = {}
        self._place, self._values = 0, program.start(self._inputs)

    def float_outcome(self) -> Outcome:
        """Run the float network, which is the base where that has no grids."""
        with computing():
            if self._unit.base:
                self._reference = self._finish(self._program.start(self._inputs), 0, FLOAT)
            else:
                self._reference = self._run_base()
            rows = describe_float_outputs(self._reference, self._unit.labels)
        return self._outcome(self._unit.float_key, rows, self._reference)

    def base_outcome(self, key: str) -> Outcome:
        """Run the base network."""
        with computing():
            return self._compared(key, self._run_base())

    def answer(self, trial: ChunkQuestion) -> Outcome:
        """Run what follows the first site at which a trial differs from the base."""
        with computing():
            settings = {
                site: grid for site, grid in self._settings.items() if site not in trial.off
            }
            settings.update(self._program.settle(trial.on))
            if not self._unit.reuse:
                output = self._finish(self._program.start(self._inputs), 0, settings)
            else:
                position = self._program.position(trial.sites)
                output = self._finish(dict(self._at(position)), position, settings)
            return self._compared(trial.key, output)

    def _run_base(self) -> tuple[Tensor, ...]:
        """Run the base to its end; keep what the trials start from, as far as memory allows."""
        values, place = self._program.start(self._inputs), 0
        for position in self._affordable():
            self._run(values, place, position, self._settings)
            self._kept[position], place = dict(values), position
        return self._finish(values, place, self._settings)

    def _affordable(self) -> list[int]:
        """Return the positions to keep: from the end back, for the first layers' are largest."""
        if not self._unit.reuse:
            return []
        wanted = {self._program.position(trial.sites) for trial in self._unit.trials}
        copies = 2 if self._unit.base else 1  # a value before its grid and after it
        chosen: list[int] = []
        for position in sorted(wanted, reverse=True):
            needed = self._program.live_bytes((*chosen, position)) * count_of(self._inputs)
            if copies * needed > self._unit.memory_bytes:
                break
            chosen.append(position)
        return chosen[::-1]

    def _at(self, position: int) -> Values:
        """Return the base's values at a position at or after the last one asked for."""
        if position in self._kept:
            self._values = self._kept.pop(position)
        elif position > self._place:
            self._run(self._values, self._place, position, self._settings)
        self._place = position
        return self._values

    def _run(self, values: Values, start: int, stop: int, settings: Settings) -> None:
        self._program.run(values, start, stop, settings)
        self._macs += self._count * self._program.macs(start, stop)

    def _finish(self, values: Values, start: int, settings: Settings) -> tuple[Tensor, ...]:
        self._run(values, start, len(self._program), settings)
        return tuple(output[: self._count] for output in self._program.results(values))

    def _compared(self, key: str, output: tuple[Tensor, ...]) -> Outcome:
        if self._reference is None:
            raise RuntimeError("The float network runs first.")
        return self._outcome(key, compare_outputs(self._reference, output, self._unit.labels))

    def _outcome(
        self, key: str, rows: Rows, reference: tuple[Tensor, ...] | None = None
    ) -> Outcome:
        macs, self._macs = self._macs, 0
        return Outcome(key, self._unit.chunk, rows, macs, reference)
