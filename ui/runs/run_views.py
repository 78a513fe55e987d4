"""The pieces of the page Run and compare: the list of runs, and the widths of a run."""

from collections.abc import Sequence

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from analysis.network import Network
from analysis.runs.run_store import Run
from ui.widgets.csv_text import csv_text
from ui.widgets.tables import effective_width_table, run_table

LIST_PX = 300
MOST_RUNS = 6
DIGITS = {"top-1 %": 2, "drop": 2, "agreement %": 2, "SQNR dB": 1, "cosine": 4, "seconds": 1}
COLUMN_PX = {
    "name": 200,
    "metric": 105,
    "lost": 85,
    "cosine": 60,
    "top-1 %": 62,
    "drop": 52,
    "energy": 62,
    "latency": 64,
    "recipe": 90,
    "machine": 90,
}
"""Widths of the first columns: name, score and cost fit beside the side bar of a small window."""


def own_model_first(runs: Sequence[Run], network: Network | None) -> list[Run]:
    """Return the runs of the loaded model, then the others; within both the newest first."""
    digest = "" if network is None else network.digest
    return sorted(runs, key=lambda run: run.model_digest != digest)


def select_runs(runs: Sequence[Run]) -> list[Run]:
    """Show the list of runs; return the ticked runs, at most `MOST_RUNS`, or the newest run."""
    table = run_table(runs)
    columns: dict[str, ColumnConfig] = {
        name: st.column_config.Column(width=COLUMN_PX.get(name), pinned=name == "name")
        for name in table.columns
    }
    columns |= {
        name: st.column_config.NumberColumn(format=f"%.{digits}f", width=COLUMN_PX.get(name))
        for name, digits in DIGITS.items()
    }
    state = st.dataframe(
        table,
        key="runs.table",
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        width="stretch",
        height=min(38 + 35 * len(runs), LIST_PX),
        alt="All runs, those of this model first",
        placeholder="",
        column_config=columns,
    )
    st.caption(
        f"Tick one run to see it, two to {MOST_RUNS} to compare. Without a tick the newest of this "
        "model is shown."
    )
    ticked = state["selection"]["rows"]
    return [runs[row] for row in ticked if row < len(runs)][:MOST_RUNS] or [runs[0]]


def show_width_table(run: Run) -> None:
    """Show requested, computed and stored widths with the costs of the layers, also as CSV."""
    table = effective_width_table(run.cost)
    number = st.column_config.NumberColumn
    whole = {name: number(format="localized") for name in ("MACs", "cycles")}
    broken = {name: number(format="%.1f") for name in ("energy nJ", "latency µs", "utilization %")}
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        height=480,
        alt="Widths and cost by layer",
        column_config={**whole, **broken},
    )
    st.download_button("Table as CSV", csv_text(table), f"{run.name}.csv", "text/csv")
