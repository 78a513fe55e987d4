"""Long work as a generator: the generator yields progress and returns a result."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of long work: `fraction` in [0, 1], and the present step in words.

    `known` tells the results known so far, in words; an empty text tells nothing new.
    """

    fraction: float
    text: str
    known: str = ""


Steps = Generator[Progress, None, T]


def part_of_progress(steps: Steps[T], start: float, end: float) -> Steps[T]:
    """Run a generator as part of longer work, from the fraction `start` to the fraction `end`."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield replace(step, fraction=start + (end - start) * step.fraction)


def drain_steps(steps: Steps[T]) -> T:
    """Run a generator of progress to the end and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
