"""Reading measurements from a CSV file with the columns network, latency_s and energy_j."""

import codecs
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from accelerator.calibration.measurement import Measurement
from accelerator.workload import OpKind, Workload

COLUMNS = ("network", "latency_s", "energy_j", "config", "batch", "idle_power_w", "point", "source")
"""The columns that count; the first must be there, and one of the next two. Others are notes."""
MOST_ROWS, MOST_BATCH = 200, 4096
DEFAULT_CONFIG = "w8a8"


@dataclass(frozen=True, slots=True)
class MeasurementRow:
    """A line of the file; `config` is a text such as w8a8 or the name of a configuration file."""

    network: str
    latency_s: float | None = None
    energy_j: float | None = None
    config: str = DEFAULT_CONFIG
    batch: int = 1
    idle_power_w: float | None = None
    point: str = ""
    source: str = ""


FindWorkload = Callable[[str, str], Workload]
"""From the name of a network and of a configuration to the work of one image."""


def read_measurement_bytes(content: bytes) -> tuple[MeasurementRow, ...]:
    """Return the rows of a CSV file as spreadsheets write it: UTF-8, or UTF-16 with its mark.

    Raises:
        ValueError: the content is no such text, or `read_measurement_rows` refuses it.
    """
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeError:
        raise ValueError(
            "A file of measurements must be CSV in UTF-8; got other bytes. Save it as CSV UTF-8."
        ) from None
    return read_measurement_rows(text)


def read_measurement_rows(text: str) -> tuple[MeasurementRow, ...]:
    r"""Return the rows of a CSV text; between semicolons or tabs, numbers may have a comma.

    >>> read_measurement_rows("network;latency_s;energy_j\nkws;0,029;\n")[0].latency_s
    0.029

    Raises:
        ValueError: a column is missing or has another unit, a cell holds no number, or there are
            no rows.
    """
    text = text.lstrip("\ufeff")
    separator = _find_separator(text.partition("\n")[0])
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, delimiter=separator)
    names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    _check_column_names(names)
    try:
        rows = tuple(
            _read_measurement_row(number, cells, separator)
            for number, cells in enumerate(reader, 2)
            if any(cells.values())
        )
    except csv.Error as error:
        raise ValueError(f"A file of measurements must be CSV; got another ({error}).") from None
    if not 1 <= len(rows) <= MOST_ROWS:
        raise ValueError(
            f"A file of measurements must have 1 to {MOST_ROWS} rows; got {len(rows)}. Add a row "
            "for each network that was measured."
        )
    return rows


def measurements_of_rows(
    rows: Sequence[MeasurementRow], find_workload: FindWorkload
) -> tuple[Measurement, ...]:
    """Return the measurements with the workload named in each row, batch by batch."""
    return tuple(
        Measurement(
            network=row.network,
            workload=workload_of_batch(find_workload(row.network, row.config), row.batch),
            latency_s=row.latency_s,
            energy_j=row.energy_j,
            idle_power_w=row.idle_power_w,
            point=row.point,
            source=row.source,
        )
        for row in rows
    )


def workload_of_batch(workload: Workload, batch: int) -> Workload:
    """Return the workload of `batch` images at once instead of one."""
    if batch == 1:
        return workload
    return replace(
        workload,
        ops=tuple(
            replace(op, groups=op.groups * batch)
            if op.kind is OpKind.MATMUL
            else replace(op, batch=op.batch * batch)
            for op in workload.ops
        ),
        tensors=tuple(replace(t, elements=t.elements * batch) for t in workload.tensors),
    )


def read_uniform_widths(text: str) -> tuple[int, int] | None:
    """Return the widths of a text such as w8a8; None for another text.

    >>> read_uniform_widths("w4a8")
    (4, 8)
    """
    weight, found, activation = text.strip().lower().removeprefix("w").partition("a")
    if not found or not weight.isdecimal() or not activation.isdecimal():
        return None
    return int(weight), int(activation)


def _find_separator(head: str) -> str:
    """Return what separates the cells of the first line: comma, semicolon or tab."""
    return max(",;\t", key=head.count)


def _check_column_names(names: Sequence[str]) -> None:
    for name in COLUMNS:
        if names.count(name) > 1:
            raise ValueError(f"A column must stand once; got {name} twice. Remove one of the two.")
    for name in names:
        stem = name.partition("_")[0]
        wanted = {"latency": "latency_s", "energy": "energy_j", "idle": "idle_power_w"}.get(stem)
        if wanted and name != wanted:
            raise ValueError(
                f"A column must be {wanted}; got {name}. Convert the values and rename the column."
            )
    if "network" not in names or not {"latency_s", "energy_j"} & set(names):
        raise ValueError(
            "A file of measurements must have the columns network and latency_s or energy_j; got "
            f"{', '.join(filter(None, names)) or 'none'}. Name them in the first line."
        )


def _read_measurement_row(number: int, cells: dict[str, str], separator: str) -> MeasurementRow:
    if None in cells:  # where DictReader keeps the cells behind the last column
        how = "Write 0.109 for a number, not 0,109, and remove" if separator == "," else "Remove"
        raise ValueError(
            f"Line {number} must have a cell for each column; it has more. {how} separators at "
            "the end."
        )
    text = {name: (value or "").strip() for name, value in cells.items() if name in COLUMNS}
    if not text.get("network"):
        raise ValueError(f"Line {number} must name a network; it is empty. Fill the cell.")
    figures = dict(_read_positive_numbers(number, text, commas=separator != ","))
    batch = figures.pop("batch", None)
    if batch is not None and (batch != int(batch) or not 1 <= batch <= MOST_BATCH):
        raise ValueError(
            f"Line {number}: batch must be a whole number from 1 to {MOST_BATCH}; got {batch:g}."
        )
    if figures.get("latency_s") is None and figures.get("energy_j") is None:
        raise ValueError(f"Line {number} must hold latency_s or energy_j; both are empty.")
    return MeasurementRow(
        network=text["network"],
        config=text.get("config") or DEFAULT_CONFIG,
        batch=int(batch or 1),
        point=text.get("point", ""),
        source=text.get("source", ""),
        **figures,
    )


def _read_positive_numbers(
    number: int, text: dict[str, str], *, commas: bool
) -> Iterator[tuple[str, float]]:
    """Yield the figures of a line by column; `commas` says that decimals may follow a comma."""
    for name in ("latency_s", "energy_j", "batch", "idle_power_w"):
        if not text.get(name):
            continue
        try:
            value = float(text[name].replace(",", ".") if commas else text[name])
        except ValueError:
            value = 0.0
        if not 0 < value < 1e12:
            comma = "," in text[name] and not commas
            how = "Write a point for the comma." if comma else "Correct the cell."
            raise ValueError(
                f"Line {number}: {name} must be a number above 0 without a unit; got "
                f"{text[name][:40]!r}. {how}"
            )
        yield name, value
