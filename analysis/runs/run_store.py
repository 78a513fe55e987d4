"""Stored runs that survive a restart: one row for a run in an SQLite file."""

import json
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accelerator.report import CostReport
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.measures import Interval
from analysis.evaluation.stored_score import with_present_intervals
from analysis.evaluation.told_score import ToldScore
from analysis.runs.database import Database
from analysis.runs.json_values import plain_from_result, result_from_plain
from plain_files.read_json import parse_json
from quant.simulation.plan import Side

FORMAT = 1
MOST_TAGS, MOST_TAG, MOST_NOTE = 8, 24, 1000  # of a run; letters of a tag, and of a note
_TABLE = """CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created TEXT NOT NULL, format INTEGER NOT NULL,
    content TEXT NOT NULL)"""
_OWNERS = "CREATE TABLE IF NOT EXISTS owners (run TEXT PRIMARY KEY, owner TEXT NOT NULL)"
_ANSWERS = "CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, answer TEXT NOT NULL)"
_COLUMNS = {
    "runs": ("id", "name", "created", "format", "content"),
    "answers": ("question", "answer"),
    "owners": ("run", "owner"),
}
_OWNED = "runs LEFT JOIN owners ON owners.run = runs.id"
_OWNER = "COALESCE(owner, '')"


@dataclass(frozen=True, slots=True)
class RunStep:
    """A network on the way of a recipe: plain quantization first, then after each pass.

    `score` is top-1, or without labels the agreement with the float network, a share of 1;
    `interval` is the 95 % interval of the score, `sqnr_db` that of the output. `told` is the score
    in the task's measure; None in a run of an older version.
    """

    title: str
    score: float
    interval: Interval
    sqnr_db: float
    told: ToldScore | None = None


@dataclass(frozen=True, slots=True)
class SideLoss:
    """The loss where one side is quantized and the other side is float.

    `points` and the 95 % `interval` are in points of the metric that `unit` names; without labels
    they are the percentage of answers that differ from the float network.
    """

    side: Side
    points: float
    interval: Interval | None
    unit: str
    images: int


@dataclass(frozen=True, slots=True)
class Run:
    """One configuration of one model on one data set and machine, measured and estimated.

    `layer_sqnr_db` holds the SQNR of each layer's output. `config` is the configuration in the form
    of `QuantConfig.to_dict`, `recipe` the repair passes in order, `steps` the scores before and
    after each pass where the passes were measured one by one, `sides` the losses of each side alone
    where they were asked for and the loss is large, and `experiment` the experiment in
    the form of `analysis.runs.experiment_file`; None in a run of an older version. `seconds` is the
    duration of the run. `tags` and `note` are words of the person.
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
    steps: tuple[RunStep, ...] = ()
    sides: tuple[SideLoss, ...] = ()
    experiment: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def check_annotation(tags: Sequence[str], note: str) -> tuple[str, ...]:
    """Return tags without repetition and without space at the ends.

    Raises:
        ValueError: tags or note are too many or too long.
    """
    words = tuple(dict.fromkeys(word for tag in tags if (word := " ".join(tag.split()))))
    longest = max(map(len, words), default=0)
    if len(words) > MOST_TAGS or longest > MOST_TAG:
        raise ValueError(
            f"A run must have at most {MOST_TAGS} tags of at most {MOST_TAG} letters; got "
            f"{len(words)}, the longest of {longest}. Shorten them."
        )
    if len(note.strip()) > MOST_NOTE:
        raise ValueError(
            f"A note must have at most {MOST_NOTE} letters; got {len(note.strip())}. Shorten it."
        )
    return words


class RunStore:
    """The runs of one owner under a folder, or in memory; threads and tabs can share the store.

    `owner` is "" for the user at the machine. Only the owner sees, renames or deletes a run.
    Answers follow from the question and are separate by owner too. Every method raises StoreError
    for an unusable file.
    """

    def __init__(self, folder: Path | None, owner: str = "") -> None:
        self.path = None if folder is None else folder / "runs.sqlite"
        self.owner = owner
        self._database = Database(self.path, (_TABLE, _ANSWERS, _OWNERS), _COLUMNS)

    def save_run(self, run: Run) -> None:
        """Store a run; an owner's run with an equal id is replaced."""
        content = json.dumps(plain_from_result(run), allow_nan=False)
        with self._database.open_connection() as database:
            identity = run.id if self._may_replace_run(database, run.id) else uuid.uuid4().hex
            row = (identity, run.name, run.created, FORMAT, content)
            database.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", row)
            if self.owner:
                database.execute(
                    "INSERT OR REPLACE INTO owners VALUES (?, ?)", (identity, self.owner)
                )

    def _may_replace_run(self, database: sqlite3.Connection, identity: str) -> bool:
        """Return whether no other owner has a run with the id."""
        query = f"SELECT {_OWNER} FROM {_OWNED} WHERE id = ?"  # noqa: S608
        return all(owner == self.owner for (owner,) in database.execute(query, (identity,)))

    def all_runs(self) -> tuple[Run, ...]:
        """Return the readable runs, the newest first; unreadable runs stay in the file."""
        query = (
            f"SELECT content, name, id FROM {_OWNED} WHERE format = ? AND {_OWNER} = ? "  # noqa: S608
            "ORDER BY created DESC, runs.rowid DESC"
        )
        with self._database.open_connection() as database:
            rows = database.execute(query, (FORMAT, self.owner)).fetchall()
        return tuple(run for row in rows if (run := _read_run_row(*row)) is not None)

    def rename_run(self, identity: str, name: str) -> None:
        """Give a run another name.

        Raises:
            ValueError: the name is empty.
        """
        if not name.strip():
            raise ValueError("A run must have a name; got an empty one.")
        with self._database.open_connection() as database:
            if self._may_replace_run(database, identity):
                query = "UPDATE runs SET name = ? WHERE id = ?"
                database.execute(query, (name.strip(), identity))

    def annotate_run(self, identity: str, tags: Sequence[str], note: str) -> None:
        """Give a run of the owner tags and a note, in place of earlier ones.

        Raises:
            ValueError: tags or note are too many or too long.
        """
        words = check_annotation(tags, note)
        with self._database.open_connection() as database:
            if not self._may_replace_run(database, identity):
                return
            query = "SELECT content FROM runs WHERE id = ?"
            row = database.execute(query, (identity,)).fetchone()
            if row is None:
                return
            content = {**parse_json(row[0]), "tags": list(words), "note": note.strip()}
            query = "UPDATE runs SET content = ? WHERE id = ?"
            database.execute(query, (json.dumps(content, allow_nan=False), identity))

    def delete_run(self, identity: str) -> None:
        """Forget a run."""
        with self._database.open_connection() as database:
            if self._may_replace_run(database, identity):
                database.execute("DELETE FROM runs WHERE id = ?", (identity,))
                database.execute("DELETE FROM owners WHERE run = ?", (identity,))

    def forget_owner(self) -> None:
        """Delete the owner's rows, for a visitor who will not come back."""
        if not self.owner:
            raise ValueError("What the person at this machine has is deleted run by run.")
        with self._database.open_connection() as database:
            for query in (
                "DELETE FROM runs WHERE id IN (SELECT run FROM owners WHERE owner = ?)",
                "DELETE FROM owners WHERE owner = ?",
            ):
                database.execute(query, (self.owner,))
            start = self._question_of_owner("")
            query = "DELETE FROM answers WHERE substr(question, 1, ?) = ?"
            database.execute(query, (len(start), start))

    def find_answer(self, question: str) -> Any:
        """Return the JSON value stored under `question`, or None."""
        with self._database.open_connection() as database:
            query = "SELECT answer FROM answers WHERE question = ?"
            row = database.execute(query, (self._question_of_owner(question),)).fetchone()
        try:
            return None if row is None else parse_json(row[0])
        except (ValueError, TypeError):
            return None  # damaged: it will be found anew

    def keep_answer(self, question: str, answer: object) -> None:
        """Store a JSON value under `question`; the question names every input of the answer."""
        row = (self._question_of_owner(question), json.dumps(answer))
        with self._database.open_connection() as database:
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", row)

    def _question_of_owner(self, question: str) -> str:
        return f"{self.owner}\n{question}" if self.owner else question


def _read_run_row(content: str, name: str, identity: str) -> Run | None:
    """Return the run in a row; None for a damaged row, so that the row hides no other row."""
    try:
        run = result_from_plain(Run, {**parse_json(content), "name": name, "id": identity})
        return replace(run, evaluation=with_present_intervals(run.evaluation))
    except (ValueError, TypeError):
        return None
