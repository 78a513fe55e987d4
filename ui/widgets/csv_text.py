"""Tables as CSV that a spreadsheet shows and never runs."""

from typing import Any

import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins with one of these is a formula to a spreadsheet, which may call out or run."""


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV without its index; an apostrophe makes a text of a formula.

    Numbers stay numbers, negative ones too.
    """
    safe = table.map(_spreadsheet_cell)
    safe.columns = pd.Index([_spreadsheet_cell(str(name)) for name in table.columns])
    return safe.to_csv(index=False)


def _spreadsheet_cell(value: Any) -> Any:
    """Return a value of a table as a spreadsheet may hold it."""
    if not isinstance(value, str):
        return value
    one_line = value.replace("\r", " ")  # which would end the row
    return f"'{one_line}" if value.lstrip(" ").startswith(FORMULA_STARTS) else one_line
