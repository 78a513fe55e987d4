"""Runs that are under way: the step, and the score of the images so far."""

import streamlit as st

from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.workspace import Workspace
from ui.widgets.job_text import job_line
from ui.widgets.markdown import plain

LOOK_EVERY_S = 1.0


def show_runs_under_way(workspace: Workspace) -> bool:
    """Show each waiting or running run with its score so far; return whether there is one."""
    if not _runs_under_way(workspace):
        return False

    @st.fragment(run_every=LOOK_EVERY_S)
    def show_scores() -> None:
        for job in _runs_under_way(workspace):
            known = f"  \nSo far: **{plain(job.known)}**" if job.known else ""
            st.info(f"{job_line(workspace.runner, job)}{known}", icon=":material/pending:")

    show_scores()
    return True


def _runs_under_way(workspace: Workspace) -> list[Job]:
    kinds = (JobKind.RUN, JobKind.MEASURE)
    return [job for job in workspace.runner.active_jobs if job.kind in kinds]
