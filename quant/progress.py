"""Long work as a generator: the generator yields progress and returns a result."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of long work: `fraction` in [0, 1], and the present step in words.

    `known` tells the results known so far, in words; an empty text tells nothing new. `stage` holds
    the fractions at which the present stage of the work begins and ends: a stage goes at a speed of
    its own, and what another took tells nothing of it. None for work of one speed.
    """

    fraction: float
    text: str
    known: str = ""
    stage: tuple[float, float] | None = None

    @property
    def is_of_stage(self) -> bool:
        """Whether the work goes on after the present stage."""
        return self.stage is not None and self.stage[1] < 1.0


Steps = Generator[Progress, None, T]


def part_of_progress(steps: Steps[T], start: float, end: float) -> Steps[T]:
    """Run a generator as part of longer work, from the fraction `start` to the fraction `end`."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        fraction, stage = start + (end - start) * step.fraction, None
        if step.stage is not None:
            begun, ended = step.stage
            stage = start + (end - start) * begun, start + (end - start) * ended
        yield replace(step, fraction=fraction, stage=stage)


def stage_of_progress(steps: Steps[T], start: float, end: float) -> Steps[T]:
    """Run a generator as a stage of longer work, which has a speed of its own.

    The outermost stage counts.

    Example:
        >>> [step.stage for step in stage_of_progress(iter([Progress(0.5, "")]), 0.2, 0.6)]
        [(0.2, 0.6)]
    """
    parts = part_of_progress(steps, start, end)
    while True:
        try:
            step = next(parts)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield replace(step, stage=(start, end))


def drain_steps(steps: Steps[T]) -> T:
    """Run a generator of progress to the end and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
