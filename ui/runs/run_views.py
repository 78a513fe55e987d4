"""The pieces of the page Run and compare: the list of runs, two runs compared, a run in detail."""

from collections.abc import Sequence

import streamlit as st

from analysis.network import Network
from analysis.runs.compare_runs import with_distinct_names
from analysis.runs.run_store import Run
from figures import takeaway
from figures.cost.energy import energy_comparison
from figures.quality.accuracy import accuracy_with_interval
from figures.quality.layer_sqnr import compare_layers
from ui.runs.changed_images import show_changed_answers
from ui.runs.forms import PICTURED, show_layer_differences, show_run_change
from ui.runs.task_pictures import show_task_pictures
from ui.state.workspace import Workspace
from ui.widgets.csv_text import csv_text
from ui.widgets.markdown import plain
from ui.widgets.tables import effective_width_table, run_table

LIST_PX = 300
DIGITS = {"top-1 %": 2, "drop": 2, "agreement %": 2, "SQNR dB": 1, "seconds": 1}


def own_model_first(runs: Sequence[Run], network: Network | None) -> list[Run]:
    """Return the runs of the loaded model, then the others; within both the newest first."""
    digest = "" if network is None else network.digest
    return sorted(runs, key=lambda run: run.model_digest != digest)


def select_runs(runs: Sequence[Run]) -> list[Run]:
    """Show the list of runs; return the ticked runs, at most two, or the newest run."""
    columns = {
        name: st.column_config.NumberColumn(format=f"%.{digits}f")
        for name, digits in DIGITS.items()
    }
    state = st.dataframe(
        run_table(runs),
        key="runs.table",
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        width="stretch",
        height=min(38 + 35 * len(runs), LIST_PX),
        alt="All runs, those of this model first",
        placeholder="",
        column_config={
            "name": st.column_config.TextColumn(pinned=True, width=200),
            "recipe": st.column_config.TextColumn(width=130),
            **columns,
        },
    )
    st.caption(
        "Tick one run to see it, two to compare. Without a tick the newest of this model is shown."
    )
    ticked = state["selection"]["rows"]
    return [runs[row] for row in ticked if row < len(runs)][:2] or [runs[0]]


def show_two_runs(workspace: Workspace, newer: Run, older: Run) -> None:
    """Show the differences between two runs in words and in figures."""
    before, after = with_distinct_names(older, newer)
    st.subheader(plain(f"{after.name} against {before.name}"), anchor=False)
    show_run_change(before, after)
    metrics = [run.evaluation.metric for run in (before, after)]
    if all(metric is not None and metric.task in PICTURED for metric in metrics):
        show_task_pictures(workspace, [before, after])
    else:
        show_changed_answers(workspace, before, after)
    figures = [
        energy_comparison({before.name: before.cost, after.name: after.cost}),
        compare_layers(before, after),
    ]
    if before.evaluation.classes and after.evaluation.classes:
        figures.insert(0, accuracy_with_interval([before, after]))
    for number, figure in enumerate(figures):
        st.plotly_chart(figure, key=f"runs.compare.{number}", alt=takeaway(figure))
    show_layer_differences(before, after)


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
