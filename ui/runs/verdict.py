"""The result of a run in words: the heading, the verdict, and the next steps."""

from collections.abc import Sequence

import streamlit as st

from accelerator.machine import machine_title
from analysis.runs.run_store import Run
from analysis.runs.verdict import Level, judge_run
from ui.runs.forms import is_present_experiment
from ui.runs.next_steps import show_next_step
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

LIMITS = (
    "The limits are our choice: deployable up to 1 point of top-1 lost by the upper end of the "
    "95 % interval; above it, repair first; above 20 points, or no better than chance, not "
    "deployable. Without labels, different answers stand for the loss."
)


def run_heading(run: Run) -> None:
    """Show the name of a run with model, recipe and machine in a line."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    row.subheader(plain(run.name), anchor=False, width="content")
    repairs = ", ".join(run.recipe) or "no repair"
    row.caption(
        plain(f"{run.model} · {repairs} · {machine_title(run.cost.machine)}"), width="content"
    )


def show_run_verdict(workspace: Workspace, run: Run, others: Sequence[Run]) -> None:
    """Show the verdict in words and colour, and links to the next steps."""
    network = workspace.network
    if network is not None and network.digest != run.model_digest:
        network = None
    classes = network.output_count if network is not None and network.is_classifier else None
    verdict = judge_run(run, classes, others)
    draw, icon = {
        Level.DEPLOYABLE: (st.success, ":material/check_circle:"),
        Level.UNDECIDED: (st.warning, ":material/help:"),
        Level.REPAIR_FIRST: (st.warning, ":material/healing:"),
        Level.NOT_DEPLOYABLE: (st.error, ":material/block:"),
    }[verdict.level]
    draw(plain(verdict.sentence), icon=icon)
    row = st.container(horizontal=True, vertical_alignment="center")
    with row:
        for step in verdict.steps:
            show_next_step(workspace, run, step)
    row.caption("Why this verdict?", help=LIMITS, width="content")
    if network is None or not is_present_experiment(workspace, run):
        st.caption(
            "The other pages work on the present experiment, which is another one: a next step, "
            "or Use this configuration, below, takes this run there."
        )
