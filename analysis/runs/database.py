"""An SQLite file, possibly damaged, locked, full or closed: errors become one sentence.

A file that is no longer a database gets another name, and a new file begins.
"""

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

WAIT_S = 5.0
"""How long a program waits for another that writes into the same file."""
# SQLITE_ERROR: the statements are right, so the tables belong to another program
_DAMAGED = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_CONSTRAINT,
)
_SIDE_FILES = ("-journal", "-wal", "-shm")


class StoreError(ValueError):
    """A file of results is unusable; the message names the file and the remedy."""


class Database:
    """Tables in an SQLite file, or in memory; every use opens the file anew.

    `tables` are CREATE TABLE IF NOT EXISTS statements; `columns` names the columns of each table,
    to recognize a file of another program.

    Raises:
        StoreError: the folder or the file is unusable.
    """

    def __init__(
        self, path: Path | None, tables: Sequence[str], columns: Mapping[str, Sequence[str]]
    ) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._tables, self._columns = tables, columns
        self._memory = None if path else sqlite3.connect(":memory:", check_same_thread=False)
        if self._memory is not None:
            weakref.finalize(self, self._memory.close)
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"Results must have a folder that can be written; {path.parent} cannot be made "
                    f"({error.strerror}). Name another in QUANTSCOPE_RUNS."
                ) from error
        with self.open_connection() as database:
            if self._memory is not None:
                self._create_tables(database)
            self._check_columns(database)

    @contextmanager
    def open_connection(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection; the end commits the whole transaction or nothing.

        Raises:
            StoreError: SQLite cannot use the file; a damaged file gets another name first.
        """
        if self._memory is not None:
            with self._lock, self._memory:
                yield self._memory
            return
        try:
            with closing(self._connect_to_file()) as database, database:
                yield database
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._store_error(error) from error

    def _connect_to_file(self) -> sqlite3.Connection:
        """Return a connection to a database file; another file gets another name."""
        assert self.path is not None
        database = sqlite3.connect(self.path, timeout=WAIT_S)
        database.text_factory = _decode_stored_text
        try:
            self._create_tables(database)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            database.close()
            if not _is_damage_error(error):
                raise
            put_file_aside(self.path)
            database = sqlite3.connect(self.path, timeout=WAIT_S)
            self._create_tables(database)
        return database

    def _check_columns(self, database: sqlite3.Connection) -> None:
        """Raise sqlite3.DatabaseError if a table belongs to another program."""
        for table, wanted in self._columns.items():
            found = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            if not set(wanted) <= found:
                raise sqlite3.DatabaseError(f"table {table} has other columns")

    def _create_tables(self, database: sqlite3.Connection) -> None:
        for table in self._tables:
            database.execute(table)

    def _store_error(self, error: sqlite3.Error | UnicodeDecodeError) -> StoreError:
        """Return the sentence for an SQLite error; a damaged file gets another name."""
        assert self.path is not None
        if _is_damage_error(error) or "has other columns" in str(error):
            aside = put_file_aside(self.path)
            where = "was put aside" if aside is None else f"was put aside as {aside.name}"
            return StoreError(
                f"{self.path.name} must be a file of QuantScope's results; it is damaged or "
                f"another program's, and {where} in {self.path.parent}. A new one begins now."
            )
        if _primary_error_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(
                f"{self.path} must be free to write; another program has held it for {WAIT_S:.0f} "
                "s. Close that program, or name another folder in QUANTSCOPE_RUNS."
            )
        return StoreError(
            f"{self.path} must be a file that can be read and written; SQLite says: {error}. Make "
            "room or mend its rights, or name another folder in QUANTSCOPE_RUNS."
        )


def put_file_aside(path: Path) -> Path | None:
    """Rename a damaged file and the SQLite files beside the file; return the new name.

    The result is None if renaming fails or another process was faster.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(
        f"{path.stem}.damaged-{stamp}-{time.monotonic_ns() % 10**6}{path.suffix}"
    )
    try:
        path.replace(aside)
    except OSError:
        return None
    for ending in _SIDE_FILES:
        beside = path.with_name(path.name + ending)
        if beside.exists():
            beside.replace(aside.with_name(aside.name + ending))
    return aside


def _decode_stored_text(content: bytes) -> str:
    """Return stored text; undecodable bytes become marks, so a damaged row hides no other row."""
    return content.decode(errors="replace")


def _primary_error_code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    """Return SQLite's primary error code; 0 without a code."""
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _is_damage_error(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    return isinstance(error, UnicodeDecodeError) or _primary_error_code(error) in _DAMAGED
