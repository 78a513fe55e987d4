"""The frame around the pages: the working context and the running job."""

from dataclasses import replace

import streamlit as st

from analysis.runs.experiment import name_of_recipe
from ui.answers.float_score import find_sanity_check
from ui.frame.guide import guide_button
from ui.frame.job_list import watch_jobs
from ui.frame.sign_in import sign_in_box
from ui.job_kind import JobKind
from ui.jobs import JobState
from ui.session.session_box import opened_session_note, session_box
from ui.state.choices_history import History
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain
from ui.widgets.problem import show_problem


def show_frame(workspace: Workspace, ended: int, *, on_model: bool) -> None:
    """Draw the sidebar under the navigation, and what earlier steps left to say.

    `ended` is how many jobs had ended when the page run began. `on_model` says that the page is
    Model, where a failed load is told beside the button.
    """
    with st.sidebar:
        watch_jobs(workspace.runner, "frame", ended)  # in sight, whatever stands below
        _show_context(workspace)
        opened_session_note(workspace)
        with st.popover("Session", icon=":material/save:", width="stretch"):
            session_box(workspace)
        guide_button()
        sign_in_box()
    if problem := workspace.own_store.problem:
        st.warning(
            f"Results are kept in memory only, until the server stops. {plain(problem)}",
            icon=":material/database_off:",
        )
    _show_notes(workspace, on_model=on_model)
    _warn_of_float(workspace)


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
        f"Undo ({len(history.past)})",
        on_click=undo_change,
        args=(workspace,),
        key="frame.undo",
        disabled=not history.past,
        icon=":material/undo:",
        width="stretch",
        help="Take back the last change of the experiment",
    )
    redo.button(
        "Redo",
        on_click=redo_change,
        args=(workspace,),
        key="frame.redo",
        disabled=not history.future,
        icon=":material/redo:",
        width="stretch",
        help="Make the change again that was taken back",
    )


def _model_name(workspace: Workspace) -> str:
    if workspace.opened is not None:
        return f"{workspace.opened.session.model.name}, not loaded"
    return workspace.network.name if workspace.network else "none loaded"


def _data_name(workspace: Workspace) -> str:
    if workspace.opened is not None and workspace.opened.session.data is not None:
        return f"{workspace.opened.session.data.name}, not loaded"
    parts = workspace.parts
    return f"{parts.score.name}, {len(parts.score)} {parts.score.noun}s" if parts else "none chosen"


def undo_change(workspace: Workspace) -> None:
    """Take back the last change of the experiment, if the experiment before fits the model."""
    workspace.step_history(History.undo)


def redo_change(workspace: Workspace) -> None:
    """Repeat the change that was taken back, if the changed experiment fits the model."""
    workspace.step_history(History.redo)


def _show_notes(workspace: Workspace, *, on_model: bool) -> None:
    while workspace.notes:
        st.toast(workspace.notes.pop(0), icon=":material/info:", duration="long")
    last = workspace.runner.last
    if last is None or last.shown:
        return
    if last.state is JobState.FAILED and last.kind is JobKind.LOAD_MODEL:
        st.toast(
            f"{plain(last.title)} failed; Model says why.", icon=":material/error:", duration="long"
        )
        last.shown = True
    if last.state is JobState.FAILED and not (last.kind is JobKind.LOAD_MODEL and on_model):
        show_problem(workspace, last.title, last.problem)
    elif last.state is JobState.CANCELLED:
        st.toast(f"{plain(last.title)}: cancelled. Nothing else changed.", icon=":material/close:")
        last.shown = True


def _warn_of_float(workspace: Workspace) -> None:
    """Tell what is suspicious about the float network on the data; offer the measured remedy."""
    found = None if workspace.opened is not None else find_sanity_check(workspace)
    if found is None or not found.suspicions:
        return
    with st.container(border=True):
        st.error(plain(" ".join(found.warning_sentences())), icon=":material/warning:")
        better = found.better
        if better is None or better.preprocess is None:
            return
        steps = better.preprocess.to_json()
        st.button(
            f"Use {better.change}",
            key="frame.better_inputs",
            type="primary",
            icon=":material/check:",
            on_click=workspace.take_data,
            args=(replace(workspace.data, preprocess=steps),),
        )
