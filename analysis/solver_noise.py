"""Keeps a stray line of the solver out of standard output, where answers and logs go."""

import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STRAY = b"HighsMipSolverData::"  # how a line begins that HiGHS prints whatever it is told
STDOUT = 1
_lock = threading.Lock()


@contextmanager
def without_stray_lines() -> Iterator[None]:
    """Collect what the process prints meanwhile, and print it at the end without the solver's.

    The solver prints below Python, so the file descriptor itself is turned; where there is none,
    nothing is done. One at a time.
    """
    with _lock, tempfile.TemporaryFile() as caught:
        _flush()
        try:
            kept = os.dup(STDOUT)
        except OSError:
            yield
            return
        os.dup2(caught.fileno(), STDOUT)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, STDOUT)
            os.close(kept)
            caught.seek(0)
            for line in caught:
                if not line.startswith(STRAY):
                    os.write(STDOUT, line)


def _flush() -> None:
    """Write out what Python and the C library hold back."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).fflush(None)
