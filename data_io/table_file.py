"""A table in a `.csv` file as a dataset: a row an item, the columns are numbers."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_io.arrays import ArraySource, digest_of_arrays
from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.preprocessing import Preprocess
from data_io.table_columns import TableColumns, measure_table_columns

MAX_BYTES = 2 * 1024**3
_SNIFFED = 64 * 1024


@dataclass(frozen=True, slots=True)
class TextTable:
    """The text of a table: names of columns, and cells row by row."""

    shown: str
    names: tuple[str, ...]
    rows: list[list[str]]

    def cells_of_column(self, name: str) -> list[str]:
        """Return the cells of a column.

        Raises:
            DatasetError: an unknown column; the sentence lists the columns.
        """
        if name not in self.names:
            there = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise DatasetError(
                f"{self.shown} must have the column {name!r}, got {there}; name one of these."
            )
        place = self.names.index(name)
        return [row[place].strip() for row in self.rows]


def open_csv_table(path: Path, preprocess: Preprocess) -> Dataset:
    """Return the `.csv` at `path` as a dataset of rows (N, F), standardised at reading.

    The first line names the columns, unless the line holds only numbers: then the columns are
    called 1, 2, 3, ... The delimiter (comma, semicolon, tab) is found automatically.
    `preprocess.table` names the column of the label or of the target, and the standardisation of
    the others.

    Raises:
        DatasetError: not a table, a cell other than a number (the sentence tells row and column),
            or
            an unknown column.
    """
    columns = preprocess.table or TableColumns()
    table = read_csv_file(path)
    features = names_of_features(table, columns)
    inputs = rows_of_features(table, features)
    columns.standardize_rows(inputs[:1])  # tells at once where the numbers of columns differ
    labels, classes = _labels_of_table(table, columns) if columns.label else (None, ())
    targets = {"": numbers_of_column(table, columns.target)[:, None]} if columns.target else {}
    source = ArraySource(inputs, labels, replace(preprocess, table=columns), targets=targets)
    return Dataset(
        name=path.name,
        source=source,
        indices=tuple(range(len(inputs))),
        labelled=labels is not None,
        class_names=classes,
        source_digest=cache(partial(digest_of_arrays, source)),
        largest_label=-1 if labels is None or classes else int(labels.max()),
    )


def measure_training_table(path: Path, columns: TableColumns) -> TableColumns:
    """Return `columns` with the features, means and deviations of a training table (`.csv`).

    Raises:
        DatasetError: as `open_csv_table`.
    """
    table = read_csv_file(path)
    names = names_of_features(table, columns)
    labels = _labels_of_table(table, columns)[1] if columns.label else ()
    measured = measure_table_columns(columns, rows_of_features(table, names), names)
    return replace(measured, classes=columns.classes or labels)


def read_csv_file(path: Path) -> TextTable:
    """Return the cells of a `.csv` file.

    Raises:
        DatasetError: not UTF-8, too large, empty, or rows of different lengths.
    """
    if path.stat().st_size > MAX_BYTES:
        raise DatasetError(f"{path.name} must hold at most {MAX_BYTES // 1024**3} GiB.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            begin = file.read(_SNIFFED)
            file.seek(0)
            rows = [row for row in csv.reader(file, delimiter=_likely_delimiter(begin)) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path.name} must be a table in UTF-8 text, got other data ({error}); save it as CSV."
        ) from None
    if not rows or len(rows[0]) < 2:
        raise DatasetError(
            f"{path.name} must hold rows of at least two columns, got "
            f"{len(rows[0]) if rows else 'no'}; separate columns by commas, semicolons or tabs."
        )
    named = not all(map(_is_finite_cell, rows[0]))
    names = [cell.strip() for cell in rows[0]] if named else map(str, range(1, len(rows[0]) + 1))
    table = TextTable(path.name, tuple(names), rows[1:] if named else rows)
    _check_table_shape(table)
    return table


def names_of_features(table: TextTable, columns: TableColumns) -> tuple[str, ...]:
    """Return the network's columns, in order."""
    for name in (columns.label, columns.target):
        if name:
            table.cells_of_column(name)
    if columns.features:
        return columns.features
    apart = {columns.label, columns.target}
    return tuple(name for name in table.names if name not in apart)


def rows_of_features(table: TextTable, features: Sequence[str]) -> NDArray[np.float32]:
    """Return the features as float32 (N, F)."""
    return np.stack([numbers_of_column(table, name) for name in features], axis=1)


def numbers_of_column(table: TextTable, name: str) -> NDArray[np.float32]:
    """Return a column as float32 (N,).

    Raises:
        DatasetError: a cell is not a finite number; the sentence tells the row.
    """
    cells = table.cells_of_column(name)
    try:
        values = np.array(cells, np.float64).astype(np.float32)
    except ValueError:
        values = np.full(len(cells), np.nan, np.float32)
    if np.isfinite(values).all():
        return values
    wrong = next(row for row, cell in enumerate(cells) if not _is_finite_cell(cell))
    raise DatasetError(
        f"Every cell of a feature must be a finite number, got {cells[wrong]!r} in row {wrong + 1} "
        f"of {name} ({table.shown}); name the label's column, leave text columns out of the "
        "features, or repair the row."
    )


def _labels_of_table(
    table: TextTable, columns: TableColumns
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return (labels (N,), names of the classes in the order of outputs)."""
    cells = table.cells_of_column(columns.label)
    whole = all(cell.isdecimal() for cell in cells)
    if whole and not columns.classes:
        return np.array(cells, np.int64), ()
    classes = columns.classes or tuple(sorted(set(cells)))
    place = {name: index for index, name in enumerate(classes)}
    if strange := next((cell for cell in cells if cell not in place), None):
        raise DatasetError(
            f"Every label of {columns.label} must be one of the classes {', '.join(classes[:30])}, "
            f"got {strange!r} in {table.shown}; correct the row or the classes."
        )
    return np.array([place[cell] for cell in cells], np.int64), classes


def _check_table_shape(table: TextTable) -> None:
    """Raise if columns share a name or a row differs in length from the first."""
    if len(set(table.names)) != len(table.names) or not table.rows:
        raise DatasetError(
            f"{table.shown} must hold rows under columns of different names, got "
            f"{len(table.rows)} rows under {', '.join(table.names[:20])}."
        )
    for number, row in enumerate(table.rows, 1):
        if len(row) != len(table.names):
            raise DatasetError(
                f"Every row of {table.shown} must have {len(table.names)} cells, got {len(row)} "
                f"in row {number}."
            )


def _likely_delimiter(begin: str) -> str:
    """Return the most frequent delimiter of the first line."""
    first = begin.partition("\n")[0]
    return max(",;\t", key=first.count)


def _is_finite_cell(cell: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return bool(np.isfinite(np.float32(float(cell))))
    except (ValueError, OverflowError):
        return False
