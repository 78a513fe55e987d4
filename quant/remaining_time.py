"""The time that a job still needs, from the speed measured so far."""

import threading
from collections import deque

GROWTH = 1.5
"""A told time never grows beyond this factor of the least time told before (our choice)."""
LEAST_S, LEAST_SHARE = 3.0, 0.03
"""Seconds and share of the work before the speed tells something."""
FOUND_S = 1.0
"""What is done within the first second was found among stored results, and tells no speed."""
WINDOW_S = 10.0
"""Seconds over which the present speed is measured: parts of a stage differ in speed."""
Stage = tuple[float, float]
WHOLE: Stage = (0.0, 1.0)


class RemainingTime:
    """Estimates the seconds to go from fractions of work at times; pure arithmetic, no clock.

    The estimate is the longer of two: at the mean speed since the start, and at the speed of the
    last ten seconds, but at most 1.5 times the former. Where the work has stages, the estimate is
    that of the present stage, from its speed alone: fractions of the work are no fractions of time.
    The thread that works adds progress while the thread that draws a page asks.
    """

    def __init__(self, start_s: float) -> None:
        self._lock = threading.Lock()
        self._stage, self._last_s = WHOLE, start_s
        self._start_stage(start_s, 0.0)

    def _start_stage(self, start_s: float, begun: float) -> None:
        self._start_s = start_s
        self._base = (start_s, begun)
        self._recent: deque[tuple[float, float]] = deque([(start_s, begun)])
        self._least_s: float | None = None

    def add_progress(self, now_s: float, fraction: float, stage: Stage | None = None) -> None:
        """Take in the share of work that is done at a time, and the stage (begin, end)."""
        with self._lock:
            self._add_progress(now_s, fraction, stage)

    def _add_progress(self, now_s: float, fraction: float, stage: Stage | None) -> None:
        if stage is not None and stage != self._stage:
            self._stage = stage
            self._start_stage(self._last_s, stage[0])
        self._last_s = now_s
        if fraction < self._recent[-1][1]:
            return  # a stage that counts anew says nothing about speed
        if now_s - self._start_s < FOUND_S:
            self._base = (now_s, fraction)
            self._recent.clear()
        self._recent.append((now_s, fraction))
        while len(self._recent) > 2 and now_s - self._recent[1][0] >= WINDOW_S:
            self._recent.popleft()

    def seconds_left(self, now_s: float) -> float | None:
        """Return the seconds to go in the stage, or None before the speed tells something."""
        with self._lock:
            return self._seconds_left(now_s)

    def _seconds_left(self, now_s: float) -> float | None:
        base_s, base = self._base
        done, elapsed, end = self._recent[-1][1], now_s - base_s, self._stage[1]
        if now_s - self._start_s < LEAST_S or done - base < LEAST_SHARE * (end - base):
            return None
        left = end - done
        if left <= 0:
            return 0.0
        found = mean = elapsed / (done - base) * left
        first_s, first = self._recent[0]
        if done > first:
            found = max(found, min(GROWTH * mean, (now_s - first_s) / (done - first) * left))
        if self._least_s is not None:
            found = min(found, GROWTH * self._least_s)
        self._least_s = found if self._least_s is None else min(found, self._least_s)
        return found


def time_left_text(seconds: float, *, of_stage: bool = False) -> str:
    """Return the time to go in words: of the work, or of the present stage.

    Example:
        >>> time_left_text(42.4), time_left_text(150.0, of_stage=True)
        ('about 42 s left', 'about 2 min left for this part')
    """
    rest = " for this part" if of_stage else ""
    time = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
    return f"about {time} left{rest}"
