import math

import pytest
import torch
from scipy.stats import binomtest

from analysis.evaluation.measures import (
    entropy_bits,
    paired_interval,
    proportion_interval,
    signal_to_noise_db,
    sqnr_db,
)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (8, 10, 0.4902, 0.9433),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_gives_the_published_values(hits: int, trials: int, low: float, high: float) -> None:
    # 81 of 263 is Newcombe's (1998) example
    found = proportion_interval(hits, trials)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("trials", [1, 7, 500])
def test_wilson_equals_scipy(trials: int) -> None:
    for hits in {0, 1, trials // 3, trials}:
        wanted = binomtest(hits, trials).proportion_ci(method="wilson")
        found = proportion_interval(hits, trials)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_no_trials_say_nothing() -> None:
    assert proportion_interval(0, 0).low == 0.0
    assert proportion_interval(0, 0).high == 1.0


def test_paired_interval_by_hand() -> None:
    # (10.5 - 4.5) / 102 = 0.058824; sqrt(15 - 36 / 102) / 102 = 0.037521; times 1.96
    found = paired_interval(10, 4, 100)
    assert (found.low, found.high) == pytest.approx((-0.014716, 0.132363), abs=2e-6)


def test_paired_interval_turns_with_the_sign() -> None:
    found, turned = paired_interval(40, 3, 500), paired_interval(3, 40, 500)
    assert found.low > 0
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_paired_interval_without_any_change_contains_zero() -> None:
    found = paired_interval(0, 0, 100)
    assert -0.03 < found.low < 0 < found.high < 0.03


def test_paired_interval_covers_the_truth() -> None:
    generator = torch.Generator().manual_seed(0)
    lost, won, trials, rounds = 0.08, 0.03, 200, 2000
    draws = torch.rand(rounds, trials, generator=generator)
    inside = 0
    for row in draws:
        found = paired_interval(
            int((row < lost).sum()), int(((row >= lost) & (row < lost + won)).sum()), trials
        )
        inside += found.low <= lost - won <= found.high
    assert 0.935 <= inside / rounds <= 0.975


def test_sqnr_by_hand() -> None:
    # signal 1 + 4, noise 1
    reference, noisy = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])
    assert sqnr_db(reference, noisy) == pytest.approx(10 * math.log10(5))


def test_sqnr_at_its_ends() -> None:
    x = torch.ones(3)
    assert sqnr_db(x, x) == math.inf
    assert sqnr_db(torch.zeros(3), torch.zeros(3)) == math.inf
    assert sqnr_db(torch.zeros(3), x) == -math.inf
    assert signal_to_noise_db(100.0, 1.0) == pytest.approx(20.0)


def test_sqnr_grows_six_db_with_each_bit() -> None:
    x = torch.rand(100_000)
    eight, nine = (sqnr_db(x, (x * 2**bits).round() / 2**bits) for bits in (8, 9))
    assert nine - eight == pytest.approx(6.02, abs=0.05)


@pytest.mark.parametrize(
    ("values", "bits"),
    [([3, 3, 3], 0.0), ([0, 1], 1.0), ([0, 1, 2, 3], 2.0), ([0, 0, 0, 1], 0.811278)],
)
def test_entropy_by_hand(values: list[int], bits: float) -> None:
    assert entropy_bits(torch.tensor(values)) == pytest.approx(bits, abs=1e-6)
