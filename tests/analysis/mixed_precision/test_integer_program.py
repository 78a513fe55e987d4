"""The integer program against trying everything."""

import itertools

import numpy as np
import pytest

from analysis.evaluation.measures import Array
from analysis.mixed_precision.cost_terms import Limit, Scope, Sum, add_cost_sums, separate_knobs
from analysis.mixed_precision.integer_program import GAP, solve_integer_program

OPTIONS = (3, 2, 3, 4, 1)
SCOPES = ((0, 1), (1, 2, 3), (0, 3), (2, 4))


def random_sum(random: np.random.Generator, constant: float = 0.0) -> Sum:
    knobs = {i: random.uniform(0, 10, count) for i, count in enumerate(OPTIONS)}
    tables: dict[Scope, Array] = {
        scope: random.uniform(0, 10, [OPTIONS[knob] for knob in scope]) for scope in SCOPES
    }
    return Sum(knobs, tables, constant)


def every() -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, OPTIONS)))


@pytest.mark.parametrize("seed", range(12))
def test_the_best_choice_is_that_of_brute_force(seed: int) -> None:
    random = np.random.default_rng(seed)
    goal, one, other = random_sum(random), random_sum(random, 3.0), random_sum(random)
    values = sorted(one.value_at(choice) for choice in every())
    limits = [
        Limit(one, values[len(values) // (2 + seed % 6)]),
        Limit(other, sorted(other.value_at(choice) for choice in every())[len(values) // 2]),
    ]
    kept = [c for c in every() if all(limit.total.value_at(c) <= limit.most for limit in limits)]
    found = solve_integer_program(OPTIONS, [goal], limits)
    assert found is not None
    assert found.proven
    assert found.choice in kept
    best = min(goal.value_at(choice) for choice in kept)
    assert found.objective == pytest.approx(best, rel=2 * GAP)
    assert goal.value_at(found.choice) == found.objective
    assert found.bound <= found.objective * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_least_maximum_is_that_of_brute_force(seed: int) -> None:
    random = np.random.default_rng(seed)
    goals = [random_sum(random, random.uniform(0, 5)) for _ in range(3)]
    found = solve_integer_program(OPTIONS, goals, [])
    assert found is not None
    best = min(max(goal.value_at(choice) for goal in goals) for choice in every())
    assert found.objective == pytest.approx(best, rel=2 * GAP)


def test_what_cannot_be_kept_has_no_answer() -> None:
    total = random_sum(np.random.default_rng(0))
    least = min(total.value_at(choice) for choice in every())
    assert solve_integer_program(OPTIONS, [total], [Limit(total, least * 0.999)]) is None
    assert solve_integer_program(OPTIONS, [total], [Limit(total, least * 1.000001)]) is not None


def test_equal_questions_have_equal_answers() -> None:
    random = np.random.default_rng(5)
    goal, cost = random_sum(random), random_sum(random)
    limit = Limit(cost, float(np.mean([cost.value_at(choice) for choice in every()])))
    first, second = (solve_integer_program(OPTIONS, [goal], [limit]) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.choice == second.choice


def test_an_objective_of_nothing_is_kept_by_any_choice() -> None:
    found = solve_integer_program(OPTIONS, [Sum()], [])
    assert found is not None
    assert found.objective == 0


def test_tables_that_are_sums_of_vectors_vanish() -> None:
    left, right = np.array([1.0, 4.0, 2.0]), np.array([10.0, 30.0])
    both = Sum({}, {(0, 1): left[:, None] + right})
    (smaller,) = separate_knobs([both])
    assert smaller.tables == {}
    for choice in itertools.product(range(3), range(2)):
        assert smaller.value_at(choice) == pytest.approx(both.value_at(choice))


def test_an_axis_leaves_only_where_it_does_so_in_every_sum() -> None:
    random = np.random.default_rng(1)
    joint = random.uniform(size=(3, 2, 4))
    partly = random.uniform(size=(3, 2))[:, :, None] + random.uniform(size=4)
    one, other = separate_knobs([Sum({}, {(0, 1, 2): partly}), Sum({}, {(0, 1, 2): partly * 2})])
    assert list(one.tables) == list(other.tables) == [(0, 1)]
    one, other = separate_knobs([Sum({}, {(0, 1, 2): partly}), Sum({}, {(0, 1, 2): joint})])
    assert list(one.tables) == list(other.tables) == [(0, 1, 2)]
    for choice in itertools.product(range(3), range(2), range(4)):
        assert one.value_at(choice) == pytest.approx(partly[choice])


def test_sums_add_and_scale() -> None:
    random = np.random.default_rng(2)
    one, other = random_sum(random, 1.0), random_sum(random, 2.0)
    total = add_cost_sums([one, other.scale_by(3.0)])
    for choice in every()[::7]:
        assert total.value_at(choice) == pytest.approx(
            one.value_at(choice) + 3 * other.value_at(choice)
        )
