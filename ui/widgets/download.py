"""A button that saves a table to a file."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from ui.widgets.csv_text import csv_text


def csv_download_button(table: pd.DataFrame, name: str, key: str) -> None:
    """Offer the numbers behind a figure as CSV; the text is made at the click."""
    write: Callable[[], str] = lambda: csv_text(table)  # noqa: E731
    st.download_button(
        "CSV",
        write,
        f"{name}.csv",
        "text/csv",
        key=key,
        type="tertiary",
        icon=":material/download:",
        help="The numbers of this figure",
        on_click="ignore",
    )
