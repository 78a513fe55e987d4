"""The frame around the pages: the working context and the running job."""

import logging

import streamlit as st

from analysis.runs.experiment import name_of_recipe
from quant.errors import QuantError
from ui.frame.sign_in import sign_in_box
from ui.jobs import JobState, watch_jobs
from ui.request_guard import paths_open
from ui.session.session_box import opened_session_note, session_box
from ui.state.choices_history import History
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

_LOG = logging.getLogger(__name__)


def show_frame(workspace: Workspace, ended: int) -> None:
    """Draw the sidebar under the navigation, and the notes of earlier steps.

    `ended` is the number of ended jobs at the start of the page run.
    """
    with st.sidebar:
        _show_context(workspace)
        opened_session_note(workspace)
        with st.popover("Session", icon=":material/save:", width="stretch"):
            session_box(workspace)
        sign_in_box()
        st.space("small")
        watch_jobs(workspace.runner, "frame", ended)
    if problem := workspace.own_store.problem:
        st.warning(
            f"Results are kept in memory only, until the server stops. {plain(problem)}",
            icon=":material/database_off:",
        )
    _show_notes(workspace)


def _show_context(workspace: Workspace) -> None:
    lines = {
        "Model": _model_name(workspace),
        "Data": _data_name(workspace),
        "Machine": workspace.machine.title,
        "Experiment": workspace.experiment.display_name,
    }
    experiment = workspace.experiment
    if experiment.given_name and experiment.recipe:
        lines["Repairs"] = name_of_recipe(experiment.recipe)
    given = experiment.encodings
    if (
        given is not None
        and experiment.uses_encodings
        and given.source not in experiment.display_name
    ):
        lines["Ranges"] = f"of {given.source}"
    for label, value in lines.items():
        st.caption(f"{label}  \n**{plain(value)}**")
    history = workspace.experiments
    undo, redo = st.columns(2)
    undo.button(
        f"Undo ({len(history.past)})", on_click=undo_change, args=(workspace,),
        key="frame.undo", disabled=not history.past, icon=":material/undo:", width="stretch",
        help="Take back the last change of the experiment",
    )  # fmt: skip
    redo.button(
        "Redo", on_click=redo_change, args=(workspace,), key="frame.redo",
        disabled=not history.future, icon=":material/redo:", width="stretch",
        help="Make the change again that was taken back",
    )  # fmt: skip


def _model_name(workspace: Workspace) -> str:
    if workspace.opened is not None:
        return f"{workspace.opened.session.model.name}, not loaded"
    return workspace.network.name if workspace.network else "none loaded"


def _data_name(workspace: Workspace) -> str:
    if workspace.opened is not None and workspace.opened.session.data is not None:
        return f"{workspace.opened.session.data.name}, not loaded"
    parts = workspace.parts
    return f"{parts.score.name}, {len(parts.score)} images" if parts else "none chosen"


def undo_change(workspace: Workspace) -> None:
    """Take back the last change of the experiment, if the experiment before fits the model."""
    workspace.step_history(History.undo)


def redo_change(workspace: Workspace) -> None:
    """Repeat the change that was taken back, if the changed experiment fits the model."""
    workspace.step_history(History.redo)


def _show_notes(workspace: Workspace) -> None:
    while workspace.notes:
        st.toast(workspace.notes.pop(0), icon=":material/info:", duration="long")
    last = workspace.runner.last
    if last is None or last.shown:
        return
    if last.state is JobState.FAILED:
        show_problem(workspace, last.title, last.problem)
    elif last.state is JobState.CANCELLED:
        st.toast(f"{plain(last.title)}: cancelled. Nothing else changed.", icon=":material/close:")
        last.shown = True


def show_problem(workspace: Workspace, title: str, problem: Exception | None) -> None:
    """Show an error that the user can correct as a sentence, and any other error as a bug.

    The traceback of a bug is shown to the person at the server's machine, and goes to the log.
    """
    if isinstance(problem, ValueError | OSError | QuantError):
        st.error(f"**{plain(title)}** stopped: {plain(str(problem))}", icon=":material/error:")
    elif problem is not None and paths_open(workspace.settings):
        st.exception(problem)
    elif problem is not None:
        _LOG.error("%s stopped", title, exc_info=problem)
        st.error(
            f"**{plain(title)}** stopped by a fault of QuantScope ({type(problem).__name__}). "
            "The log of the server says where.",
            icon=":material/error:",
        )
