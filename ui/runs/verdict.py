"""The result of a run in words: the heading, the verdict, and the next steps."""

from collections.abc import Sequence

import streamlit as st

from analysis.runs.apply_recipe import title_of_pass
from analysis.runs.run_store import Run
from analysis.runs.verdict import Level, Place, judge_run
from ui.navigation import EXPORT, MODEL, REPAIR, SENSITIVITY, TRADEOFFS
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain
from ui.widgets.tables import machine_title

PAGES = {
    Place.MODEL: (MODEL, ":material/deployed_code:"),
    Place.SENSITIVITY: (SENSITIVITY, ":material/troubleshoot:"),
    Place.REPAIR: (REPAIR, ":material/healing:"),
    Place.TRADEOFFS: (TRADEOFFS, ":material/balance:"),
    Place.EXPORT: (EXPORT, ":material/ios_share:"),
}
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
    row = st.container(horizontal=True)
    for step in verdict.steps:
        page, symbol = PAGES[step.place]
        row.page_link(page, label=step.label, icon=symbol, help=plain(step.why), width="content")
    row.caption("Why this verdict?", help=LIMITS, width="content")
    if network is None or not _is_present_experiment(workspace, run):
        st.caption(
            "The other pages work on the present experiment, which is another one: Use this "
            "configuration, below, takes this run there."
        )


def _is_present_experiment(workspace: Workspace, run: Run) -> bool:
    """Whether the present experiment has the run's configuration and repairs."""
    now = workspace.experiment
    return (
        now.config.to_dict() == run.config
        and tuple(title_of_pass(step) for step in now.all_passes) == run.recipe
    )
