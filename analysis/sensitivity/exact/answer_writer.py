"""Answers on the way into the store, for at most half a second."""

import threading
from contextlib import suppress

from analysis.evaluation.per_image import Rows
from analysis.runs.database import StoreError
from analysis.sensitivity.exact.answer_store import Cells

FLUSH_S = 0.5


class AnswerWriter:
    """Collects answers and writes the collection by a timer; a kill loses half a second."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._fresh: list[tuple[str, str, Rows]] = []
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def add_answer(self, question: str, chunk: str, rows: Rows) -> None:
        """Add the rows (N,) of one answer."""
        with self._lock:
            self._fresh.append((question, chunk, rows))
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_S, self._flush_late)
                self._timer.daemon = True
                self._timer.start()

    def _flush_late(self) -> None:
        with self._lock:
            self._timer = None
            with suppress(StoreError):  # tried again with the next answer, and at the end
                self._write_answers()

    def write_remaining(self) -> None:
        """Write the remaining answers.

        Raises:
            StoreError: the file is unusable.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._write_answers()

    def _write_answers(self) -> None:
        if self._fresh:
            self._cells.add_rows(self._fresh)
            self._fresh = []
