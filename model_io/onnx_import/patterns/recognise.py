"""Recognize an operator in the small nodes of an exporter, and replace the nodes."""

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
    """An operator that replaces several nodes of the file."""

    operator: str
    node: str
    nodes: int


@dataclass(eq=False)
class Sight:
    """A program, the shapes of the values, and producer and readers of a value."""

    program: OnnxProgram
    shapes: dict[str, tuple[int, ...]]
    writers: dict[str, OnnxStep] = field(default_factory=dict)
    readers: dict[str, list[OnnxStep]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.writers, self.readers = (
            self.program.producers_by_value(),
            self.program.consumers_by_value(),
        )

    def constant_number(self, name: str) -> float | None:
        """Return a constant of one element."""
        value = self.program.constants.get(name)
        return float(value.reshape(-1)[0]) if value is not None and value.numel() == 1 else None

    def is_constant_number(self, name: str, wish: float) -> bool:
        """Whether a value is the constant `wish`, within the precision of float16."""
        found = self.constant_number(name)
        return found is not None and math.isclose(found, wish, rel_tol=1e-3)

    def step_that_writes(self, name: str, *operators: str) -> OnnxStep | None:
        """Return the step that writes a value, if the operator is in the list."""
        found = self.writers.get(name)
        return found if found is not None and found.operator in operators else None

    def both_input_orders(self, step: OnnxStep) -> list[tuple[str, str]]:
        """Return both orders of a step's two inputs."""
        first, second = step.inputs[:2]
        return [(first, second), (second, first)]

    def find_sum_with(self, name: str, wish: float) -> tuple[str, OnnxStep] | None:
        """Return (x, step) if the value is x plus `wish`."""
        if (step := self.step_that_writes(name, "Add")) is not None:
            for rest, constant in self.both_input_orders(step):
                if self.is_constant_number(constant, wish):
                    return rest, step
        return None

    def rank_of_value(self, name: str) -> int:
        """Return the number of axes of a value; 0 for unknown values."""
        return len(self.shapes.get(name, ()))

    def chain_of_products(
        self, step: OnnxStep, depth: int = 0
    ) -> tuple[list[str], float, list[OnnxStep]]:
        """Return (factors, number, steps) of a chain of products; inner steps have one reader."""
        factors: list[str] = []
        number, steps = 1.0, [step]
        for index, name in enumerate(step.inputs[:2]):
            found = self.constant_number(name)
            if found is not None and found != 0 and (index or step.operator == "Mul"):
                number *= found if step.operator == "Mul" else 1 / found
                continue
            if step.operator == "Div" and index:
                return [*factors, "/"], number, steps
            inner = self.step_that_writes(name, "Mul", "Div")
            if inner is not None and len(self.readers[name]) == 1 and depth < _LONGEST_CHAIN:
                below, times, more = self.chain_of_products(inner, depth + 1)
                factors, number, steps = factors + below, number * times, steps + more
            else:
                factors.append(name)
        return factors, number, steps


Match = tuple[str, tuple[str, ...], dict[str, Any], list[OnnxStep]]
"""The operator, its inputs, its attributes, and the steps it stands for (the last one first)."""
Pattern = Callable[[Sight, OnnxStep], Match | None]


def recognise_patterns(
    program: OnnxProgram, patterns: tuple[Pattern, ...], shapes: dict[str, tuple[int, ...]]
) -> list[Recognised]:
    """Replace the matches of the patterns, from the output backwards so that the largest wins."""
    found: list[Recognised] = []
    for pattern in patterns:
        sight = Sight(program, shapes)
        gone: set[str] = set()
        new: dict[str, OnnxStep] = {}
        for step in reversed(program.steps):
            check_interruption()
            match = None if step.name in gone else pattern(sight, step)
            if match is None or not _is_closed_group(sight, step, match[3], gone):
                continue
            operator, inputs, attributes, steps = match
            named = steps[-1] if operator in _NAMED_BY_PRODUCT else step
            new[step.name] = OnnxStep(named.name, operator, inputs, step.outputs, attributes, OWN)
            gone.update(s.name for s in steps if s is not step)
            found.append(Recognised(operator, named.name, len({s.name for s in steps})))
        program.steps = [new.get(s.name, s) for s in program.steps if s.name not in gone]
        program.drop_unused_steps()
    return found[::-1]


def _is_closed_group(sight: Sight, root: OnnxStep, steps: list[OnnxStep], gone: set[str]) -> bool:
    """Whether outside steps read no removed value, and no step of the group is taken."""
    names = {step.name for step in steps}
    if names & gone:
        return False
    inner = [o for step in steps if step is not root for o in step.outputs if o]
    return set(sight.program.output_names).isdisjoint(inner) and all(
        reader.name in names for value in inner for reader in sight.readers.get(value, [])
    )
