"""The time left: from measured speed, and never growing more than one and a half times."""

import threading
from collections import deque

import pytest

from quant.progress import Progress, part_of_progress, stage_of_progress
from quant.remaining_time import GROWTH, RemainingTime, time_left_text


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


def test_a_stage_is_foretold_from_its_own_speed() -> None:
    """Calibrating took 60 s for a tenth of the bar; ten minutes were told of 3 minutes' work.

    The second stage takes 100 s for four tenths of the bar, and is foretold as that.
    """
    left = RemainingTime(0.0)
    for second in range(1, 61):
        left.add_progress(float(second), 0.1 * second / 60, (0.0, 0.1))
        told = left.seconds_left(float(second))
        assert told is None if second < 3 else told == pytest.approx(60 - second, abs=1e-6)
    for second in range(1, 101):
        now = 60.0 + second
        left.add_progress(now, 0.1 + 0.4 * second / 100, (0.1, 0.5))
        told = left.seconds_left(now)
        assert told is None if second < 4 else told == pytest.approx(100 - second, rel=0.02)


def test_a_slow_moment_counts_half_as_much_again_at_most() -> None:
    left = RemainingTime(0.0)
    for second in range(1, 21):
        left.add_progress(float(second), second / 100)
    left.add_progress(40.0, 0.201)  # a step of 20 s
    mean = 39.0 / 0.191 * 0.799
    told = left.seconds_left(40.0)
    assert told is not None
    assert told <= GROWTH * mean + 1e-9


def test_the_time_of_a_stage_is_told_as_such() -> None:
    assert time_left_text(42.4) == "about 42 s left"
    assert time_left_text(42.4, of_stage=True) == "about 42 s left for this part"
    inner = Progress(0.5, "", stage=(0.0, 1.0))
    (step,) = part_of_progress(stage_of_progress(iter([inner]), 0.5, 1.0), 0.0, 0.5)  # type: ignore[arg-type]
    assert step.stage == (0.25, 0.5)
    assert step.fraction == pytest.approx(0.375)
    assert step.is_of_stage
    assert not Progress(0.5, "").is_of_stage


def test_a_page_may_ask_while_the_job_tells_its_progress() -> None:
    """A page was drawn between two steps of one update once, and ended as an error page."""
    left, told = RemainingTime(0.0), list[float | None]()
    page = threading.Thread(target=lambda: told.append(left.seconds_left(5.0)))

    class Interrupted(deque[tuple[float, float]]):
        def clear(self) -> None:
            super().clear()
            page.start()
            page.join(0.2)

    left._recent = Interrupted(left._recent)
    left.add_progress(0.5, 0.1)
    page.join()
    assert told == [None]
