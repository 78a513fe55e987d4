"""Long work as a generator: the generator yields progress and returns a result."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of long work: `fraction` in [0, 1], and the present step in words."""

    fraction: float
    text: str


Steps = Generator[Progress, None, T]


def part_of_progress(steps: Steps[T], start: float, end: float) -> Steps[T]:
    """Run a generator as part of longer work, from the fraction `start` to the fraction `end`."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield Progress(start + (end - start) * step.fraction, step.text)


def drain_steps(steps: Steps[T]) -> T:
    """Run a generator of progress to the end and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
