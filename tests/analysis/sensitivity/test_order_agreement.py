"""Rank correlation against SciPy, and what of two answers is compared."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from analysis.evaluation.measures import spearman_correlation
from analysis.sensitivity.ranking import rank_agreement
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep
from quant.config import uniform_config
from quant.simulation.plan import Side


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("values", [3, 6, 1000])
def test_the_rank_correlation_is_that_of_scipy(seed: int, values: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.integers(0, values, (2, 40)).astype(float)  # few values: many ties
    assert spearman_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)


def test_infinite_values_have_a_rank() -> None:
    assert spearman_correlation([1.0, math.inf, 2.0], [5.0, 9.0, 7.0]) == pytest.approx(1.0)


@pytest.mark.parametrize("first", [[1.0, 2.0], [4.0, 4.0, 4.0]])
def test_too_little_says_nothing(first: list[float]) -> None:
    assert spearman_correlation(first, [1.0, 2.0, 3.0][: len(first)]) is None


def answer(depth: Depth, values: dict[Question, float], other: Depth | None = None) -> Sensitivity:
    scores = tuple(CellScore(q, other or depth, 8, value) for q, value in values.items())
    return Sensitivity(Sweep(uniform_config(8, 8)), depth, 8, None, scores)


def test_only_questions_that_both_answer_are_compared() -> None:
    def on(side: Side, numbers: list[float], bits: int = 8) -> dict[Question, float]:
        return {Question(f"layer {n}", bits, side): value for n, value in enumerate(numbers)}

    screened = answer(
        Depth.SCREENING,
        on(Side.WEIGHTS, [1, 2, 3, -9])
        | on(Side.ACTIVATIONS, [1, 2, 3])
        | on(Side.WEIGHTS, [7], 4),
    )
    exact = answer(Depth.EXACT, on(Side.WEIGHTS, [4, 5, 6]) | on(Side.ACTIVATIONS, [6, 5, 4]))
    assert rank_agreement(screened, exact, Side.WEIGHTS) == pytest.approx(1)
    assert rank_agreement(screened, exact, Side.ACTIVATIONS) == pytest.approx(-1)
    assert rank_agreement(screened, exact, Side.WEIGHTS, bits=8) == pytest.approx(1)
    assert rank_agreement(screened, exact, Side.WEIGHTS, bits=4) is None
    filled = answer(Depth.EXACT, on(Side.WEIGHTS, [4, 5, 6]), other=Depth.SCREENING)
    assert rank_agreement(screened, filled, Side.WEIGHTS) is None
