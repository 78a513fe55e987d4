"""A button that saves a file."""

from collections.abc import Callable

import pandas as pd
import streamlit as st


def save(table: pd.DataFrame, name: str, key: str) -> None:
    """Offer the numbers behind a figure as CSV; they are written only once asked for."""
    write: Callable[[], str] = lambda: table.to_csv(index=False)  # noqa: E731
    st.download_button(
        "CSV", write, f"{name}.csv", "text/csv", key=key, type="tertiary",
        icon=":material/download:", help="The numbers of this figure", on_click="ignore",
    )  # fmt: skip
