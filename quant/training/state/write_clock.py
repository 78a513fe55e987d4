"""When a running work's state is due on the disk: often, and at little cost."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

WRITE_EVERY_S = 1.0
"""A kill loses about a second."""
MOST_SHARE = 0.05
"""Of the time, for writing; a state that takes longer to write is written less often."""


@dataclass(eq=False)
class WriteClock:
    """Says when the next write is due; `every_s` of 0 means always.

    >>> WriteClock(0.0).is_due()
    True
    """

    every_s: float = WRITE_EVERY_S
    now: Callable[[], float] = time.monotonic
    _ended: float = field(init=False)
    _cost_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Begin to wait."""
        self._ended = self.now()

    def is_due(self) -> bool:
        """Whether the last write is `every_s` ago, and long enough ago for its cost."""
        if self.every_s <= 0:
            return True
        rest_s = self._cost_s * (1 / MOST_SHARE - 1)
        return self.now() - self._ended >= max(self.every_s, rest_s)

    @contextmanager
    def time_write(self) -> Iterator[None]:
        """Time the write inside; the wait begins after the write."""
        began = self.now()
        yield
        self._ended = self.now()
        self._cost_s = self._ended - began
