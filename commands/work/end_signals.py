"""A command that is told to end: one sentence and the usual exit code, whatever it does just now.

The module imports nothing but the standard library: it is in place before slow imports begin.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)


def end_at_signals() -> None:
    """Let SIGINT and SIGTERM end this process in a sentence; an ignored signal stays ignored."""
    own = os.getpid()

    def end_command(number: int, _: FrameType | None) -> NoReturn:
        if os.getpid() != own:  # a forked worker, which its parent ends
            os._exit(128 + number)
        for one in ENDING:  # the second time at once
            signal.signal(one, signal.SIG_DFL)
        name = signal.Signals(number).name
        sys.stderr.write(f"Stopped by {name} before the answer; call the command again.\n")
        sys.exit(128 + number)

    for one in ENDING:
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, end_command)
