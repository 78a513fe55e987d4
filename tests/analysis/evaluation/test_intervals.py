"""Intervals: the exact chance of a wrong end, and the cases that papers compute."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from analysis.evaluation.image_answers import count_changes, pack_bits, unpack_bits
from analysis.evaluation.images_needed import images_needed
from analysis.evaluation.intervals import (
    adjusted_wald_interval,
    energy_ratio_interval,
    paired_interval,
    proportion_interval,
    score_interval,
)
from analysis.evaluation.measures import Z95, Interval
from quant.errors import QuantError


def chance_of_wrong_ends(n: int, difference: float, changed: float) -> tuple[float, float]:
    """Return the exact chance that the interval lies above, and below, the true difference.

    The sum runs over the multinomial distribution of lost and won images.
    """
    above = below = 0.0
    for count in range(n + 1):
        weight = binom.pmf(count, n, changed)
        if weight < 1e-9:
            continue
        lost = np.arange(count + 1)
        shares = weight * binom.pmf(lost, count, (changed + difference) / 2 / changed)
        for one, share in zip(lost.tolist(), shares.tolist(), strict=True):
            if share > 1e-9:
                found = paired_interval(one, count - one, n, 0.95)
                above += share * (found.low > difference)
                below += share * (found.high <= difference)
    return above, below


@pytest.mark.parametrize(
    ("n", "difference", "changed"),
    [(32, 0.0, 0.15), (64, 0.05, 0.06), (100, 0.02, 0.021), (200, 0.01, 0.0101), (200, 0.02, 0.03)],
)
def test_neither_end_is_wrong_more_often_than_told(
    n: int, difference: float, changed: float
) -> None:
    above, below = chance_of_wrong_ends(n, difference, changed)
    assert above <= 0.03
    assert below <= 0.03


def test_the_adjusted_wald_interval_alone_would_pass_a_loss_too_often() -> None:
    """The oracle can fail: 1 % lost and none won is below Agresti and Min's interval in 13 %."""
    n, lost = 200, np.arange(201)
    chances = binom.pmf(lost, n, 0.01)
    ends = np.array([adjusted_wald_interval(int(one), 0, n, Z95).high for one in lost])
    assert chances[ends <= 0.01].sum() > 0.1


def test_both_ends_of_the_score_interval_are_where_the_score_test_ends() -> None:
    """The share of won images is found here by search over the likelihood, not by the formula."""
    lost, won, n = 7, 2, 60
    found = score_interval(lost, won, n, Z95)
    for end in (found.low, found.high):
        least = max(0.0, -end)
        shares = np.linspace(least, (1 - end) / 2, 200_001)[1:-1]
        likelihood = (
            lost * np.log(shares + end)
            + won * np.log(shares)
            + (n - lost - won) * np.log(1 - 2 * shares - end)
        )
        best = float(shares[likelihood.argmax()])
        variance = n * (2 * best + end - end**2)
        assert (lost - won - n * end) ** 2 / variance == pytest.approx(Z95**2, rel=1e-3)
    none = score_interval(0, 0, 200, Z95)
    assert none.high == pytest.approx(Z95**2 / (200 + Z95**2), rel=1e-6)
    assert none.low == pytest.approx(-none.high)


@pytest.mark.parametrize("trials", [1, 7, 500])
def test_a_proportion_has_the_interval_of_scipy(trials: int) -> None:
    for hits in {0, 1, trials // 3, trials}:
        wanted = binomtest(hits, trials).proportion_ci(method="exact")
        found = proportion_interval(hits, trials)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_no_trials_say_nothing() -> None:
    assert proportion_interval(0, 0) == Interval(0.0, 1.0)
    assert paired_interval(0, 0, 0) == Interval(-1.0, 1.0)


def test_the_adjusted_wald_interval_by_hand() -> None:
    # (10.5 - 4.5) / 102 = 0.058824; sqrt(15 - 36 / 102) / 102 = 0.037521; times 1.96
    found = adjusted_wald_interval(10, 4, 100, Z95)
    assert (found.low, found.high) == pytest.approx((-0.014716, 0.132363), abs=2e-6)


def test_a_paired_interval_has_the_wider_ends() -> None:
    found = paired_interval(10, 4, 100)
    assert found.low == score_interval(10, 4, 100, Z95).low
    assert found.high == score_interval(10, 4, 100, Z95).high
    assert found.high > adjusted_wald_interval(10, 4, 100, Z95).high


def test_a_paired_interval_turns_with_the_sign() -> None:
    found, turned = paired_interval(40, 3, 500), paired_interval(3, 40, 500)
    assert found.low > 0
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_the_exact_interval_inverts_the_binomial() -> None:
    found = proportion_interval(27, 30, 0.95)
    assert binom.sf(26, 30, found.low) == pytest.approx(0.025, rel=1e-6)
    assert binom.cdf(27, 30, found.high) == pytest.approx(0.025, rel=1e-6)
    assert proportion_interval(30, 30, 0.9).high == 1.0


def test_the_interval_of_an_sqnr_holds_the_true_one() -> None:
    generator, truth, held = np.random.default_rng(0), 20.0, 0
    for _ in range(400):
        signal = generator.lognormal(0, 0.3, 200)
        noise = signal * generator.lognormal(-0.125, 0.5, 200) / 100
        found = energy_ratio_interval(signal, noise)
        assert found is not None
        held += found.low <= truth <= found.high
    assert held / 400 > 0.92
    assert energy_ratio_interval(np.ones(10), np.zeros(10)) is None


def test_bits_of_answers_count_pairs() -> None:
    before, after = np.arange(21) % 3 == 0, np.arange(21) % 2 == 0
    assert (unpack_bits(pack_bits(before), 21) == before).all()
    assert count_changes(before, after) == (3, 7)
    with pytest.raises(QuantError, match="a bit for each of its 30 images; got 24"):
        unpack_bits(pack_bits(before), 30)


def test_images_that_decide_leave_the_limit() -> None:
    def at(images: int) -> Interval:
        return paired_interval(0.02 * images, 0.012 * images, images, 0.95)

    found = images_needed(300, at, 0.02)
    assert found is not None
    assert at(found).high <= 0.02 < at(int(0.85 * found)).high
    assert images_needed(300, at, 0.008) is None
    assert not math.isnan(at(found).high)
