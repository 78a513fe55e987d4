"""Runs that survive a restart: one row each in an SQLite file."""

import json
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accelerator.report import CostReport
from analysis.evaluation.evaluate import Evaluation
from analysis.runs.json_values import from_plain, to_plain

FORMAT = 1
_TABLE = """CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created TEXT NOT NULL, format INTEGER NOT NULL,
    content TEXT NOT NULL)"""
_ANSWERS = "CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, answer TEXT NOT NULL)"


@dataclass(frozen=True, slots=True)
class Run:
    """One configuration of one model on one data set and machine, measured and estimated.

    `layer_sqnr_db` holds the SQNR of each layer's output. `config` is the configuration as
    `QuantConfig.to_dict` gives it, `recipe` the passes that repaired it, in order, and
    `experiment` all that was tried as `analysis.runs.experiment_file` writes it; None in a run of
    an older version. `seconds` is the time that the run took.
    """

    name: str
    model: str
    model_digest: str
    data: str
    data_digest: str
    config: dict[str, Any]
    calibration_images: int
    evaluation: Evaluation
    cost: CostReport
    layer_sqnr_db: dict[str, float]
    versions: dict[str, str]
    seed: int
    seconds: float
    recipe: tuple[str, ...] = ()
    experiment: dict[str, Any] | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class RunStore:
    """The runs under one folder; every call opens the file anew, so threads and tabs may share."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "runs.sqlite"
        with closing(self._open()) as database, database:
            database.execute(_TABLE)
            database.execute(_ANSWERS)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30)

    def save(self, run: Run) -> None:
        """Keep a run; one with the same id is replaced."""
        content = json.dumps(to_plain(run), allow_nan=False)
        row = (run.id, run.name, run.created, FORMAT, content)
        with closing(self._open()) as database, database:
            database.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", row)

    def all(self) -> tuple[Run, ...]:
        """Return every run that this version can read, the newest first; others are left alone."""
        query = "SELECT content, name FROM runs WHERE format = ? ORDER BY created DESC, rowid DESC"
        with closing(self._open()) as database:
            rows = database.execute(query, (FORMAT,)).fetchall()
        return tuple(run for row, name in rows if (run := _read(row, name)) is not None)

    def rename(self, identity: str, name: str) -> None:
        """Give a run another name.

        Raises:
            ValueError: the name is empty.
        """
        if not name.strip():
            raise ValueError("A run must have a name; got an empty one.")
        with closing(self._open()) as database, database:
            query = "UPDATE runs SET name = ? WHERE id = ?"
            database.execute(query, (name.strip(), identity))

    def delete(self, identity: str) -> None:
        """Forget a run."""
        with closing(self._open()) as database, database:
            database.execute("DELETE FROM runs WHERE id = ?", (identity,))

    def answer(self, question: str) -> Any:
        """Return the JSON value kept under `question`, or None."""
        with closing(self._open()) as database:
            query = "SELECT answer FROM answers WHERE question = ?"
            row = database.execute(query, (question,)).fetchone()
        return None if row is None else json.loads(row[0])

    def keep_answer(self, question: str, answer: Any) -> None:
        """Keep a JSON value under `question`, which names everything the answer depends on."""
        row = (question, json.dumps(answer))
        with closing(self._open()) as database, database:
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", row)


def _read(content: str, name: str) -> Run | None:
    """Return the run in a row; None for one that was damaged, so that it hides no other."""
    try:
        return from_plain(Run, {**json.loads(content), "name": name})
    except ValueError:
        return None
