"""When a state is due on the disk, by a clock that the test turns."""

from quant.training.state.write_clock import WRITE_EVERY_S, WriteClock


class Hands:
    """A clock that stands still between the test's turns."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_quick_write_is_due_each_second() -> None:
    hands = Hands()
    clock = WriteClock(now=hands)
    assert WRITE_EVERY_S == 1.0
    hands.at += 0.99
    assert not clock.is_due()
    hands.at += 0.02
    assert clock.is_due()
    with clock.time_write():
        hands.at += 0.01
    assert not clock.is_due()
    hands.at += 1.0
    assert clock.is_due()


def test_a_slow_write_takes_a_twentieth_of_the_time() -> None:
    hands = Hands()
    clock = WriteClock(now=hands)
    with clock.time_write():
        hands.at += 2.0
    hands.at += 37.9
    assert not clock.is_due()
    hands.at += 0.2
    assert clock.is_due()


def test_without_a_wait_every_moment_is_due() -> None:
    hands = Hands()
    clock = WriteClock(0.0, hands)
    with clock.time_write():
        hands.at += 2.0
    assert clock.is_due()
