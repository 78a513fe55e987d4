"""Quantities that add up over choices: options of single knobs, and tables over several knobs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from accelerator.memory import Lifetime
from analysis.evaluation.measures import Array

Scope = tuple[int, ...]  # the knobs along the axes of a table

ROUNDING = 1e-9  # relative to a table's largest value: error of float sums


@dataclass(frozen=True, slots=True)
class Sum:
    """A quantity that adds up: a constant, a vector for each knob, a table for each scope."""

    knobs: dict[int, Array] = field(default_factory=dict)
    tables: dict[Scope, Array] = field(default_factory=dict)
    constant: float = 0.0

    def value_at(self, choice: Sequence[int]) -> float:
        """Return the value where knob i takes option choice[i].

        Example:
            >>> Sum({0: np.array([1.0, 2.0])}, constant=10.0).value_at([1])
            12.0
        """
        single = sum(float(values[choice[knob]]) for knob, values in self.knobs.items())
        pairs = self.tables.items()
        joint = sum(float(table[tuple(choice[k] for k in scope)]) for scope, table in pairs)
        return self.constant + single + joint

    def scale_by(self, factor: float) -> "Sum":
        """Return the sum with every term times `factor`."""
        return Sum(
            {knob: factor * values for knob, values in self.knobs.items()},
            {scope: factor * table for scope, table in self.tables.items()},
            factor * self.constant,
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """An upper bound `most` on a sum."""

    total: Sum
    most: float


def add_cost_sums(sums: Sequence[Sum]) -> Sum:
    """Return the sum of sums."""
    knobs: dict[int, Array] = {}
    tables: dict[Scope, Array] = {}
    for one in sums:
        for knob, values in one.knobs.items():
            knobs[knob] = knobs[knob] + values if knob in knobs else values
        for scope, table in one.tables.items():
            tables[scope] = tables[scope] + table if scope in tables else table
    return Sum(knobs, tables, sum(one.constant for one in sums))


def separate_knobs(sums: Sequence[Sum]) -> list[Sum]:
    """Return equal sums with smaller tables: a knob that only adds to a table becomes a vector."""
    reduced = list(sums)
    for scope in dict.fromkeys(scope for one in sums for scope in one.tables):
        current = scope
        for knob in scope:
            holders = [i for i, one in enumerate(reduced) if current in one.tables]
            parts = [_split_axis(reduced[i].tables[current], current.index(knob)) for i in holders]
            if any(part is None for part in parts):
                continue
            rest = tuple(other for other in current if other != knob)
            for i, part in zip(holders, parts, strict=True):
                if part is not None:
                    reduced[i] = _move_addend(reduced[i], current, rest, knob, part)
            current = rest
            if not current:
                break
    return reduced


def _split_axis(table: Array, axis: int) -> tuple[Array, Array] | None:
    """Return the table without an axis and the addend along the axis, or None if not separable."""
    others = tuple(i for i in range(table.ndim) if i != axis)
    rest = table.take([0], axis)
    difference = table - rest
    addend = difference.min(axis=others)
    if np.ptp(difference, axis=others).max() > ROUNDING * np.abs(table).max():
        return None
    return rest.squeeze(axis), addend


def _move_addend(total: Sum, old: Scope, new: Scope, knob: int, part: tuple[Array, Array]) -> Sum:
    rest, addend = part
    tables = {scope: table for scope, table in total.tables.items() if scope != old}
    extra = Sum({knob: addend}, {new: rest} if new else {}, 0.0 if new else float(rest))
    return add_cost_sums([replace(total, tables=tables), extra])


def alive_byte_sums(stored: Mapping[str, Sum], lives: Sequence[Lifetime]) -> dict[int, Sum]:
    """Return the bytes alive at each step; `stored` holds the bytes of each activation by name."""
    steps: dict[int, list[Sum]] = {}
    for life in lives:
        for step in range(life.first, life.last + 1):
            steps.setdefault(step, []).append(stored[life.name])
    return {step: add_cost_sums(alive) for step, alive in steps.items()}


def room_limits(
    stored: Mapping[str, Sum], lives: Sequence[Lifetime], residents: Collection[str], free: float
) -> Iterator[Limit]:
    """Yield the limits at each step under which the residents fit into `free` bytes.

    Steps that fit at every width have no limit.
    """
    inside = [life for life in lives if life.name in residents]
    for total in alive_byte_sums(stored, inside).values():
        most = sum(float(values.max()) for values in total.knobs.values())
        if total.constant + most > free:
            yield Limit(total, free)
