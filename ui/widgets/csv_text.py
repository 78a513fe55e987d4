"""Tables as CSV, safe for a spreadsheet: no cell is a formula."""

import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins with one of these is a formula to a spreadsheet, which may call out or run."""


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV without its index; an apostrophe turns a formula into text.

    Numbers stay numbers, negative numbers too.
    """
    safe = table.map(_spreadsheet_cell)
    safe.columns = pd.Index([_spreadsheet_cell(str(name)) for name in table.columns])
    return safe.to_csv(index=False)


def _spreadsheet_cell(value: object) -> object:
    """Return a value of a table in a form that a spreadsheet never runs."""
    if not isinstance(value, str):
        return value
    one_line = value.replace("\r", " ")  # which would end the row
    return f"'{one_line}" if value.lstrip(" ").startswith(FORMULA_STARTS) else one_line
