"""The jobs in the side bar: progress, what is known so far, what a job waits for, and Cancel."""

import streamlit as st

from ui.jobs import JobRunner, JobState
from ui.widgets.job_text import job_line
from ui.widgets.markdown import plain

LOOK_EVERY_S = 0.5


def watch_jobs(runner: JobRunner, place: str, seen: int) -> None:
    """Show the jobs of `runner` with progress and Cancel, and redraw the page at the end of a job.

    `seen` is the number of ended jobs at the start of the page run, as `take_results` returned.
    """

    @st.fragment(run_every=LOOK_EVERY_S if runner.active_jobs else None)
    def show_jobs() -> None:
        if runner.ended != seen:
            st.rerun()
        for job in runner.active_jobs:
            st.progress(min(job.progress.fraction, 1.0), text=job_line(runner, job))
            if job.known and job.state is JobState.RUNNING:
                st.caption(f"So far: {plain(job.known)}")
            ending = job.state is JobState.CANCELLING
            st.button(
                "Cancelling" if ending else "Cancel",
                key=f"{place}.cancel.{job.id}",
                icon=":material/hourglass_empty:" if ending else ":material/close:",
                on_click=job.cancel,
                disabled=ending,
                help=f"Stop: {plain(job.title)}",
            )

    show_jobs()
