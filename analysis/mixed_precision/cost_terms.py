"""Quantities that add up over choices: options of single knobs, and tables of several."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from analysis.evaluation.measures import Array

Scope = tuple[int, ...]  # the knobs that a table has as its axes

ROUNDING = 1e-9  # of a table's largest value: what sums of floats may be off by


@dataclass(frozen=True, slots=True)
class Sum:
    """A quantity that adds up: a constant, a vector for knobs, a table for scopes."""

    knobs: dict[int, Array] = field(default_factory=dict)
    tables: dict[Scope, Array] = field(default_factory=dict)
    constant: float = 0.0

    def at(self, choice: Sequence[int]) -> float:
        """Return its value where knob i takes option choice[i]."""
        single = sum(float(values[choice[knob]]) for knob, values in self.knobs.items())
        pairs = self.tables.items()
        joint = sum(float(table[tuple(choice[k] for k in scope)]) for scope, table in pairs)
        return self.constant + single + joint

    def scaled(self, factor: float) -> "Sum":
        """Return all of it times a factor."""
        return Sum(
            {knob: factor * values for knob, values in self.knobs.items()},
            {scope: factor * table for scope, table in self.tables.items()},
            factor * self.constant,
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """A sum that may be `most` at most."""

    total: Sum
    most: float


def add_sums(sums: Sequence[Sum]) -> Sum:
    """Return the sum of sums."""
    knobs: dict[int, Array] = {}
    tables: dict[Scope, Array] = {}
    for one in sums:
        for knob, values in one.knobs.items():
            knobs[knob] = knobs[knob] + values if knob in knobs else values
        for scope, table in one.tables.items():
            tables[scope] = tables[scope] + table if scope in tables else table
    return Sum(knobs, tables, sum(one.constant for one in sums))


def separate(sums: Sequence[Sum]) -> list[Sum]:
    """Return equal sums with smaller tables where a knob's part in all of them is a mere addend."""
    found = list(sums)
    for scope in dict.fromkeys(scope for one in sums for scope in one.tables):
        kept = scope
        for knob in scope:
            holders = [i for i, one in enumerate(found) if kept in one.tables]
            parts = [_split(found[i].tables[kept], kept.index(knob)) for i in holders]
            if any(part is None for part in parts):
                continue
            rest = tuple(other for other in kept if other != knob)
            for i, part in zip(holders, parts, strict=True):
                if part is not None:
                    found[i] = _moved(found[i], kept, rest, knob, part)
            kept = rest
            if not kept:
                break
    return found


def _split(table: Array, axis: int) -> tuple[Array, Array] | None:
    """Return the table without an axis and the addend along it, or None if it is not one."""
    others = tuple(i for i in range(table.ndim) if i != axis)
    rest = table.take([0], axis)
    difference = table - rest
    addend = difference.min(axis=others)
    if np.ptp(difference, axis=others).max() > ROUNDING * np.abs(table).max():
        return None
    return rest.squeeze(axis), addend


def _moved(total: Sum, old: Scope, new: Scope, knob: int, part: tuple[Array, Array]) -> Sum:
    rest, addend = part
    tables = {scope: table for scope, table in total.tables.items() if scope != old}
    extra = Sum({knob: addend}, {new: rest} if new else {}, 0.0 if new else float(rest))
    return add_sums([replace(total, tables=tables), extra])
