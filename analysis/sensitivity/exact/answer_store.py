"""Stored rows of a sweep: one record for each question and chunk of images."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.evaluation.per_image import Rows, rows_to_bytes
from analysis.runs.database import Database

_TABLES = (
    """CREATE TABLE IF NOT EXISTS chunks (
        chunk TEXT PRIMARY KEY, source TEXT NOT NULL, images BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS cells (
        question TEXT NOT NULL, chunk TEXT NOT NULL, content BLOB NOT NULL,
        PRIMARY KEY (question, chunk)) WITHOUT ROWID""",
)
_COLUMNS = {"chunks": ("chunk", "source", "images"), "cells": ("question", "chunk", "content")}
_MOST_VARIABLES = 500  # variables per statement; older SQLite allows 999


class Cells:
    """Records in an SQLite file, or in memory; threads and processes may share a file."""

    def __init__(self, path: Path | None = None) -> None:
        self._open = Database(path, _TABLES, _COLUMNS).open_connection

    def add_rows(self, records: Iterable[tuple[str, str, Rows]]) -> None:
        """Store rows by question and chunk, replacing earlier rows of both keys."""
        with self._open() as database:
            database.executemany(
                "INSERT OR REPLACE INTO cells VALUES (?, ?, ?)",
                [(question, chunk, rows_to_bytes(rows)) for question, chunk, rows in records],
            )

    def add_image_chunks(self, source: str, chunks: Mapping[str, Sequence[int]]) -> None:
        """Store the images of each chunk of a source."""
        with self._open() as database:
            database.executemany(
                "INSERT OR IGNORE INTO chunks VALUES (?, ?, ?)",
                [
                    (chunk, source, np.asarray(images, np.int64).tobytes())
                    for chunk, images in chunks.items()
                ],
            )

    def answered_chunks(self, source: str, question: str) -> dict[str, tuple[int, ...]]:
        """Return the chunks of a source that answer a question, with the images of a chunk."""
        query = """SELECT chunks.chunk, images FROM chunks JOIN cells USING (chunk)
            WHERE source = ? AND question = ? ORDER BY chunks.rowid"""
        with self._open() as database:
            rows = database.execute(query, (source, question)).fetchall()
        return {chunk: tuple(np.frombuffer(images, np.int64).tolist()) for chunk, images in rows}

    def rows_by_question(self, questions: Iterable[str]) -> dict[str, dict[str, bytes]]:
        """Return the rows of each question by chunk, as bytes from `rows_to_bytes`."""
        distinct = list(dict.fromkeys(questions))
        by_question: dict[str, dict[str, bytes]] = {question: {} for question in distinct}
        for question, chunk, content in self._select_rows("question, chunk, content", distinct):
            by_question[question][chunk] = content
        return by_question

    def known_answers(self, questions: Iterable[str]) -> set[tuple[str, str]]:
        """Return all pairs (question, chunk) with a stored answer."""
        return set(self._select_rows("question, chunk", list(questions)))

    def _select_rows(self, columns: str, questions: Sequence[str]) -> list[Any]:
        rows: list[Any] = []
        with self._open() as database:
            for start in range(0, len(questions), _MOST_VARIABLES):
                part = questions[start : start + _MOST_VARIABLES]
                marks = ",".join("?" * len(part))
                query = f"SELECT {columns} FROM cells WHERE question IN ({marks})"  # noqa: S608
                rows += database.execute(query, part).fetchall()
        return rows
