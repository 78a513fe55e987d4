"""See one operator in the loose nodes that exporters write for it, and put it in their place."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from model_io.onnx_import.program.steps import OWN, OnnxProgram, OnnxStep
from quant.interruption import check_interruption

_LONGEST_CHAIN = 6
_NAMED_BY_PRODUCT = ("Linear", "Conv", "ConvTranspose")
"""Layers with a bias of their own are known by their product, not by the sum behind it."""


@dataclass(frozen=True)
class Recognised:
    """An operator that stands for several nodes of the file."""

    operator: str
    node: str
    nodes: int


@dataclass(eq=False)
class Sight:
    """A program, the shapes of its values, and who writes and reads each."""

    program: OnnxProgram
    shapes: dict[str, tuple[int, ...]]
    writers: dict[str, OnnxStep] = field(default_factory=dict)
    readers: dict[str, list[OnnxStep]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.writers, self.readers = self.program.producers(), self.program.consumers()

    def number(self, name: str) -> float | None:
        """Return a constant of one element."""
        value = self.program.constants.get(name)
        return float(value.reshape(-1)[0]) if value is not None and value.numel() == 1 else None

    def is_number(self, name: str, wish: float) -> bool:
        """Whether a value is this constant, as far as float16 tells."""
        found = self.number(name)
        return found is not None and math.isclose(found, wish, rel_tol=1e-3)

    def step(self, name: str, *operators: str) -> OnnxStep | None:
        """Return the step that writes a value, if it is one of these operators."""
        found = self.writers.get(name)
        return found if found is not None and found.operator in operators else None

    def split(self, step: OnnxStep) -> list[tuple[str, str]]:
        """Return both orders of a step's two inputs."""
        first, second = step.inputs[:2]
        return [(first, second), (second, first)]

    def plus(self, name: str, wish: float) -> tuple[str, OnnxStep] | None:
        """Return (x, step) where the value is x plus this number."""
        if (step := self.step(name, "Add")) is not None:
            for rest, constant in self.split(step):
                if self.is_number(constant, wish):
                    return rest, step
        return None

    def rank(self, name: str) -> int:
        """Return how many axes a value has; 0 where nobody knows."""
        return len(self.shapes.get(name, ()))

    def product(self, step: OnnxStep, depth: int = 0) -> tuple[list[str], float, list[OnnxStep]]:
        """Return (factors, number, steps) of a chain of products, its inner steps read once."""
        factors: list[str] = []
        number, steps = 1.0, [step]
        for index, name in enumerate(step.inputs[:2]):
            found = self.number(name)
            if found is not None and found != 0 and (index or step.operator == "Mul"):
                number *= found if step.operator == "Mul" else 1 / found
                continue
            if step.operator == "Div" and index:
                return [*factors, "/"], number, steps
            inner = self.step(name, "Mul", "Div")
            if inner is not None and len(self.readers[name]) == 1 and depth < _LONGEST_CHAIN:
                below, times, more = self.product(inner, depth + 1)
                factors, number, steps = factors + below, number * times, steps + more
            else:
                factors.append(name)
        return factors, number, steps


Match = tuple[str, tuple[str, ...], dict[str, Any], list[OnnxStep]]
"""The operator, its inputs, its attributes, and the steps it stands for (the last one first)."""
Pattern = Callable[[Sight, OnnxStep], Match | None]


def recognise(
    program: OnnxProgram, patterns: tuple[Pattern, ...], shapes: dict[str, tuple[int, ...]]
) -> list[Recognised]:
    """Replace what the patterns find, from the output backwards so that the largest wins."""
    found: list[Recognised] = []
    for pattern in patterns:
        sight = Sight(program, shapes)
        gone: set[str] = set()
        new: dict[str, OnnxStep] = {}
        for step in reversed(program.steps):
            check_interruption()
            match = None if step.name in gone else pattern(sight, step)
            if match is None or not _is_closed(sight, step, match[3], gone):
                continue
            operator, inputs, attributes, steps = match
            named = steps[-1] if operator in _NAMED_BY_PRODUCT else step
            new[step.name] = OnnxStep(named.name, operator, inputs, step.outputs, attributes, OWN)
            gone.update(s.name for s in steps if s is not step)
            found.append(Recognised(operator, named.name, len({s.name for s in steps})))
        program.steps = [new.get(s.name, s) for s in program.steps if s.name not in gone]
        program.prune()
    return found[::-1]


def _is_closed(sight: Sight, root: OnnxStep, steps: list[OnnxStep], gone: set[str]) -> bool:
    """Whether nothing outside reads what vanishes, and nothing of it is taken already."""
    names = {step.name for step in steps}
    if names & gone:
        return False
    inner = [o for step in steps if step is not root for o in step.outputs if o]
    return set(sight.program.outputs).isdisjoint(inner) and all(
        reader.name in names for value in inner for reader in sight.readers.get(value, [])
    )
