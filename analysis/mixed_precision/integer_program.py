"""Chooses one option for each knob under budgets, exactly: an integer program for HiGHS.

Sums run over options of single knobs and over tables of a few knobs. A cell of a table becomes a
variable; for each option of a knob, the cells with the option sum to the option's variable (the
local polytope of graphical models, tight if tables form a chain). The continuous relaxation is
solved first; then only variables with a reduced cost within the gap take part, and no better
solution is lost.
"""

import ctypes
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from analysis.evaluation.measures import Array
from analysis.mixed_precision.cost_terms import Limit, Scope, Sum, separate_knobs

GAP = 1e-6  # relative to the objective: tolerance of an exact solution
FIRST_WINDOW = 0.001  # relative to the objective: first window of reduced costs
MOST_SECONDS = 20.0  # of one search; afterwards the best choice so far counts
WIDER = 8.0
ROUNDING = 1e-10  # relative to a limit: error of float sums
OPTIMAL, INFEASIBLE = 0, 2  # status codes of scipy's milp


@dataclass(frozen=True, slots=True)
class Solution:
    """The option of each knob, the value of the objective, and the lower bound of the relaxation.

    `proven` says that no choice is better by more than GAP; False after a time-out.
    """

    choice: tuple[int, ...]
    objective: float
    bound: float
    proven: bool
    seconds: float


def solve_integer_program(
    options: Sequence[int], objective: Sequence[Sum], limits: Sequence[Limit]
) -> Solution | None:
    """Return the choice with the smallest objective, or None if no choice keeps the limits.

    `options` counts the options of each knob. The objective is the largest of its sums.

    Example:
        >>> solve_integer_program([2], [Sum({0: np.array([3.0, 1.0])})], []).choice
        (1,)
    """
    start = time.perf_counter()
    program = _Program(options, objective, limits)
    relaxed = program.solve_relaxation()
    if relaxed is None:
        return None
    bound, reduced = relaxed
    window = FIRST_WINDOW * max(abs(bound), program.scale * 1e-6)
    while True:
        allowed = reduced <= window
        choice, proven = program.search_best_choice(allowed)
        value = np.inf if choice is None else max(goal.value_at(choice) for goal in objective)
        if choice is not None and (allowed.all() or value - bound <= window):
            return Solution(choice, value, bound, proven, time.perf_counter() - start)
        if allowed.all():
            return None
        window = WIDER * window if choice is None else (value - bound) * (1 + GAP)


class _Program:
    """The matrix form. Columns: options of knobs, cells of tables, and one for the maximum."""

    def __init__(
        self, options: Sequence[int], objective: Sequence[Sum], limits: Sequence[Limit]
    ) -> None:
        self.options = tuple(options)
        sums = separate_knobs([*objective, *(limit.total for limit in limits)])
        goals, bounded = sums[: len(objective)], sums[len(objective) :]
        self.first = np.concatenate(([0], np.cumsum(options)))
        self.scopes: dict[Scope, int] = {}
        self.columns = int(self.first[-1])
        for scope in dict.fromkeys(scope for one in sums for scope in one.tables):
            self.scopes[scope] = self.columns
            self.columns += int(np.prod([options[knob] for knob in scope]))
        self.integers = int(self.first[-1])
        self.maximum = len(goals) > 1
        rows = [*self._choice_constraints(), *self._margin_constraints()]
        self.equal = _sparse_matrix(rows, self.columns + self.maximum)
        self.right = np.concatenate(
            (np.ones(len(self.options)), np.zeros(len(rows) - len(self.options)))
        )
        self._set_objective_goal(goals)
        self._set_limits(bounded, limits, goals)

    def _choice_constraints(self) -> Iterator[tuple[Array, Array]]:
        for knob, count in enumerate(self.options):
            yield self.first[knob] + np.arange(count), np.ones(count)

    def _margin_constraints(self) -> Iterator[tuple[Array, Array]]:
        """Yield constraints: the cells of a scope with an option sum to the option's variable."""
        for scope, start in self.scopes.items():
            shape = [self.options[knob] for knob in scope]
            cells = start + np.arange(int(np.prod(shape))).reshape(shape)
            for axis, knob in enumerate(scope):
                for option in range(shape[axis]):
                    members = cells.take(option, axis).ravel()
                    columns = np.concatenate((members, [self.first[knob] + option]))
                    yield columns, np.concatenate((np.ones(len(members)), [-1.0]))

    def _coefficient_row(self, total: Sum) -> Array:
        row = np.zeros(self.columns + self.maximum)
        for knob, values in total.knobs.items():
            row[self.first[knob] : self.first[knob] + len(values)] += values
        for scope, table in total.tables.items():
            row[self.scopes[scope] : self.scopes[scope] + table.size] += table.ravel()
        return row

    def _set_objective_goal(self, goals: list[Sum]) -> None:
        if self.maximum:
            self.constant = 0.0
            self.goal = np.zeros(self.columns + 1)
            self.goal[-1] = 1.0
            self.scale = max(abs(goal.value_at([0] * len(self.options))) for goal in goals)
        else:
            self.constant = goals[0].constant
            self.goal = self._coefficient_row(goals[0])
            self.scale = float(np.abs(self.goal).max(initial=0.0))
        self.scale = self.scale or 1.0

    def _set_limits(self, sums: list[Sum], limits: Sequence[Limit], goals: list[Sum]) -> None:
        rows, most = [], []
        for total, limit in zip(sums, limits, strict=True):
            row = self._coefficient_row(total)
            # A limit at the smallest possible value must hold in spite of rounded sums.
            room = limit.most + ROUNDING * abs(limit.most) - total.constant
            size = max(float(np.abs(row).max(initial=0.0)), abs(room)) or 1.0
            rows.append(row / size)
            most.append(room / size)
        for goal in goals if self.maximum else ():
            row = self._coefficient_row(goal) / self.scale
            row[-1] = -1.0 / self.scale
            rows.append(row)
            most.append(-goal.constant / self.scale)
        self.bounded = csr_array(np.array(rows)) if rows else None
        self.most = np.array(most)

    def solve_relaxation(self) -> tuple[float, Array] | None:
        """Return the smallest objective of the relaxation and the reduced costs, or None."""
        result = linprog(
            self.goal / self.scale,
            A_ub=self.bounded,
            b_ub=self.most if self.bounded is not None else None,
            A_eq=self.equal,
            b_eq=self.right,
            bounds=(0, None),
            method="highs",
        )
        if not result.success:
            return None
        reduced = self.scale * np.maximum(np.asarray(result.lower.marginals), 0.0)
        if self.maximum:
            reduced[-1] = 0.0
        return self.scale * float(result.fun) + self.constant, reduced

    def search_best_choice(self, allowed: NDArray[np.bool_]) -> tuple[tuple[int, ...] | None, bool]:
        """Return the best choice among the allowed variables, or None, and whether it is proven."""
        keep = np.flatnonzero(allowed)
        constraints = [LinearConstraint(self.equal[:, keep], self.right, self.right)]
        if self.bounded is not None:
            constraints.append(LinearConstraint(self.bounded[:, keep], -np.inf, self.most))
        with without_stray_lines():
            result = milp(
                self.goal[keep] / self.scale,
                integrality=(keep < self.integers).astype(int),
                bounds=Bounds(0, np.inf),
                constraints=constraints,
                options={"mip_rel_gap": GAP, "time_limit": MOST_SECONDS},
            )
        if result.x is None:
            return None, bool(result.status == INFEASIBLE)
        values: Array = np.zeros(self.columns + self.maximum)
        values[keep] = result.x
        ends = itertools.pairwise(self.first)
        choice = tuple(int(values[low:high].argmax()) for low, high in ends)
        return choice, bool(result.status == OPTIMAL)


def _sparse_matrix(rows: list[tuple[Array, Array]], columns: int) -> csr_array:
    lengths = [len(places) for places, _ in rows]
    ends = np.concatenate(([0], np.cumsum(lengths)))
    places = np.concatenate([places for places, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return csr_array((values, places.astype(np.int64), ends), shape=(len(rows), columns))


STRAY = b"HighsMipSolverData::"  # prefix of lines that HiGHS prints in spite of its options
STDOUT = 1
_lock = threading.Lock()


@contextmanager
def without_stray_lines() -> Iterator[None]:
    """Collect the output of the process; print the output at the end without the solver's lines.

    The solver prints below Python, so the file descriptor is redirected; without a file descriptor
    nothing happens. One thread at a time.
    """
    with _lock, tempfile.TemporaryFile() as collected:
        _flush_output_buffers()
        try:
            saved_stdout = os.dup(STDOUT)
        except OSError:
            yield
            return
        os.dup2(collected.fileno(), STDOUT)
        try:
            yield
        finally:
            _flush_output_buffers()
            os.dup2(saved_stdout, STDOUT)
            os.close(saved_stdout)
            collected.seek(0)
            for line in collected:
                if not line.startswith(STRAY):
                    os.write(STDOUT, line)


def _flush_output_buffers() -> None:
    """Write out the buffers of Python and of the C library."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).fflush(None)
