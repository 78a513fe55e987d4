"""Long work as a generator: it yields how far it is, and returns its result."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long piece of work is: `fraction` in [0, 1], and what it does now."""

    fraction: float
    text: str


Steps = Generator[Progress, None, T]


def part_of_progress(steps: Steps[T], start: float, end: float) -> Steps[T]:
    """Run a generator as the part of a longer one that fills the fractions `start` to `end`."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield Progress(start + (end - start) * step.fraction, step.text)


def drain_steps(steps: Steps[T]) -> T:
    """Run a generator of progress to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
