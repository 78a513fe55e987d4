"""A store of runs that works in memory during a failure of its file, and tells the failure."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from analysis.runs.database import StoreError
from analysis.runs.run_store import Run, RunStore

RETRY_S = 20.0
"""How long the file is left alone after it failed: waiting for a lock takes seconds each time."""
Result = TypeVar("Result")


class FallbackStore(RunStore):
    """The runs of an owner in a file; in memory during a failure, with the reason in `problem`.

    Runs and answers from the time of the failure go into the file as soon as the file works again.
    """

    def __init__(self, folder: Path, owner: str = "") -> None:
        super().__init__(None, owner)
        self.problem = ""
        self._folder = folder
        self._disk: RunStore | None = None
        self._unwritten: dict[str, Any] = {}
        self._retry_at = 0.0
        self._lock = threading.RLock()
        self._try_file(lambda _: None, lambda: None)

    def save_run(self, run: Run) -> None:
        """Keep a run; a run of the owner with an equal id is replaced."""
        self._try_file(
            lambda disk: disk.save_run(run), lambda: super(FallbackStore, self).save_run(run)
        )

    def all_runs(self) -> tuple[Run, ...]:
        """Return the owner's runs, the newest first."""
        nothing: tuple[Run, ...] = ()
        on_disk = self._try_file(
            lambda disk: disk.all_runs(), lambda: nothing
        )  # may write what memory holds
        return super().all_runs() + on_disk

    def rename_run(self, identity: str, name: str) -> None:
        """Give a run a new name.

        Raises:
            ValueError: the name is empty.
        """
        super().rename_run(identity, name)
        self._try_file(lambda disk: disk.rename_run(identity, name), lambda: None)

    def annotate_run(self, identity: str, tags: Sequence[str], note: str) -> None:
        """Give a run of the owner tags and a note.

        Raises:
            ValueError: tags or note are too many or too long.
        """
        super().annotate_run(identity, tags, note)
        self._try_file(lambda disk: disk.annotate_run(identity, tags, note), lambda: None)

    def delete_run(self, identity: str) -> None:
        """Forget a run."""
        super().delete_run(identity)
        self._try_file(lambda disk: disk.delete_run(identity), lambda: None)

    def forget_owner(self) -> None:
        """Delete the runs and answers of the owner."""
        self._try_file(lambda disk: disk.forget_owner(), lambda: None)

    def find_answer(self, question: str) -> Any:
        """Return the JSON value kept under `question`; None without a value."""
        unwritten = self._unwritten.get(question)  # another thread may write it to the file now
        if unwritten is not None:
            return unwritten
        return self._try_file(lambda disk: disk.find_answer(question), lambda: None)

    def keep_answer(self, question: str, answer: Any) -> None:
        """Keep a JSON value under `question`."""
        self._try_file(
            lambda disk: disk.keep_answer(question, answer),
            lambda: self._unwritten.update({question: answer}),
        )

    def _try_file(
        self, action: Callable[[RunStore], Result], otherwise: Callable[[], Result]
    ) -> Result:
        """Return the result of `action` on the file; during a failure, that of `otherwise`."""
        with self._lock:
            if self._disk is None and time.monotonic() >= self._retry_at:
                self._open_file()
            disk = self._disk
        if disk is None:
            return otherwise()
        try:
            return action(disk)
        except StoreError as error:
            with self._lock:
                self._note_failure(error)
            return otherwise()

    def _open_file(self) -> None:
        """Open the file and write the runs and answers from the time of the failure."""
        try:
            disk = RunStore(self._folder, self.owner)
            for run in reversed(super().all_runs()):
                disk.save_run(run)
                super().delete_run(run.id)
            for question in list(self._unwritten):
                disk.keep_answer(question, self._unwritten.pop(question))
        except StoreError as error:
            self._note_failure(error)
        else:
            self._disk, self.path, self.problem = disk, disk.path, ""

    def _note_failure(self, error: StoreError) -> None:
        self._disk, self.path, self.problem = None, None, str(error)
        self._retry_at = time.monotonic() + RETRY_S
