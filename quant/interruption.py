"""Work ended early by a clock or a person: long loops ask whether to go on.

A thread that loads a stranger's file sets a limit; loops whose length depends on the file call
`check_interruption`. A single call of torch is not interrupted.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from quant.errors import QuantError


class Interrupted(BaseException):
    """The work must end now; handlers of errors must let the exception pass."""


class TimeLimitError(QuantError):
    """The work took longer than allowed; the message says what to do."""


class _State(threading.local):
    deadline: float | None = None
    cancelled: Callable[[], bool] | None = None


_STATE = _State()


@contextmanager
def limit_processor_time(seconds: float, what: str) -> Iterator[None]:
    """Let the thread compute for at most `seconds` of a processor; waiting is free.

    Raises:
        TimeLimitError: the work took longer; `what` is the subject of the sentence.
    """
    before, _STATE.deadline = _STATE.deadline, time.thread_time() + seconds
    try:
        yield
    except Interrupted:
        if _is_thread_cancelled():
            raise
        raise TimeLimitError(
            f"{what} must take at most {seconds:.0f} s; it was stopped after that time. Use a "
            "smaller network, or convert it to .pt2 with the command line, which has no limit."
        ) from None
    finally:
        _STATE.deadline = before


@contextmanager
def make_cancellable(cancelled: Callable[[], bool]) -> Iterator[None]:
    """Let a person end the thread's work inside the block; `cancelled` tells of the wish.

    Raises:
        Interrupted: a person has cancelled the work.
    """
    before, _STATE.cancelled = _STATE.cancelled, cancelled
    try:
        yield
    finally:
        _STATE.cancelled = before


def check_interruption() -> None:
    """Raise Interrupted if the thread's time is over or a person has cancelled the work."""
    late = _STATE.deadline is not None and time.thread_time() > _STATE.deadline
    if late or _is_thread_cancelled():
        raise Interrupted


def _is_thread_cancelled() -> bool:
    return _STATE.cancelled is not None and _STATE.cancelled()
