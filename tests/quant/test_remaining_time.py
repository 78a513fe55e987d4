"""The time left: from measured speed, and never growing more than one and a half times."""

import pytest

from quant.remaining_time import GROWTH, RemainingTime


def test_even_work_is_foretold_exactly() -> None:
    left = RemainingTime(100.0)
    for second in range(1, 60):
        left.add_progress(100.0 + second, second / 60)
        told = left.seconds_left(100.0 + second)
        assert told is None if second < 3 else told == pytest.approx(60 - second)


@pytest.mark.parametrize("slow", [2.0, 10.0, 50.0])
def test_a_slow_stage_never_makes_it_grow_beyond_the_factor(slow: float) -> None:
    """The first tenth takes 10 s, the rest is slower by a factor: the old estimate grew with it."""
    left, told = RemainingTime(0.0), list[float]()
    for step in range(1, 1000):
        share = step / 1000
        now = 100 * share if share <= 0.1 else 10 + slow * 100 * (share - 0.1)
        left.add_progress(now, share)
        found = left.seconds_left(now)
        if found is not None:
            assert all(found <= GROWTH * before + 1e-9 for before in told[-50:])
            told.append(found)
    assert told[-1] < told[0]
    assert max(told) <= GROWTH * told[0] + 1e-9


def test_the_speed_of_the_present_stage_counts() -> None:
    """After a fast stage the time left is that of the slow stage as soon as its speed is seen."""
    left = RemainingTime(0.0)
    left.add_progress(4.0, 0.1)
    first = left.seconds_left(4.0)
    assert first is not None
    assert first == pytest.approx(36.0)
    for second in range(5, 30):
        left.add_progress(float(second), 0.1 + 0.01 * (second - 4))
    assert left.seconds_left(29.0) == pytest.approx(GROWTH * first)


def test_nothing_is_told_before_the_speed_is_known() -> None:
    left = RemainingTime(0.0)
    assert left.seconds_left(60.0) is None
    left.add_progress(60.0, 0.01)
    assert left.seconds_left(60.0) is None


def test_a_resumed_job_tells_the_speed_of_what_is_left() -> None:
    """Nine tenths are found at once; the last tenth takes 100 s: 3 s of it told 0.3 s before."""
    left = RemainingTime(0.0)
    left.add_progress(0.2, 0.9)
    for second in range(1, 100):
        left.add_progress(0.2 + second, 0.9 + 0.001 * second)
        told = left.seconds_left(0.2 + second)
        assert told is None if second < 3 else told == pytest.approx(100 - second)
