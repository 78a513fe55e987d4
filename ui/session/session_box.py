"""A session saved to a file, and opened again: to go on with the session, or only to look."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from analysis.session_file import Session, SessionError, read_session_file, write_session_json
from ui.session.open_session import close_session, open_session, present_session, run_count_text
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain


def session_box(workspace: Workspace) -> None:
    """Offer to save the session and to open a session."""
    ready = workspace.network is not None or workspace.opened is not None
    st.download_button(
        "Save",
        data=lambda: write_session_json(present_session(workspace)),
        file_name=f"{_session_file_name(workspace)}.session.json",
        mime="application/json",
        key="session.save",
        icon=":material/download:",
        disabled=not ready,
        width="stretch",
        help="Model and data by name and digest, configuration, machine, runs, sensitivities",
    )
    uploaded = st.file_uploader("Open a session", type="json", key="session.file")
    if uploaded is None:
        return
    try:
        session = read_session_file(uploaded.getvalue())
    except SessionError as error:
        st.error(plain(str(error)))
        return
    st.caption(plain(describe_session(session)))
    with _session_errors_shown():
        if st.button("Open", key="session.open", type="primary", width="stretch"):
            with st.spinner("Looking for its model and data…"):
                said = open_session(workspace, session)
            _rerun_with_note(workspace, said)
        if st.button(
            "Look only",
            key="session.look",
            width="stretch",
            help="Results can be looked at; your own work is put aside and comes back",
        ):
            _rerun_with_note(workspace, open_session(workspace, session, look=True))


@contextmanager
def _session_errors_shown() -> Iterator[None]:
    try:
        yield
    except SessionError as error:
        st.error(plain(str(error)))


def _rerun_with_note(workspace: Workspace, said: str) -> None:
    workspace.notes.append(plain(said))
    st.rerun()


def _session_file_name(workspace: Workspace) -> str:
    if workspace.opened is not None:
        return str(workspace.opened.session.model.name)
    return workspace.network.name if workspace.network is not None else "session"


def describe_session(session: Session) -> str:
    """Return the content of a session in a sentence, before the session is opened."""
    data = session.data.name if session.data else "no data"
    code = " Its model names code, which is not run." if session.model.builder else ""
    experiment = session.record.experiment
    return (
        f"{session.model.name} on {data}, {experiment.display_name}, {experiment.machine.title}; "
        f"{run_count_text(len(session.runs))}, saved {session.created[:10]}.{code}"
    )


def opened_session_note(workspace: Workspace) -> None:
    """Say that a session is only looked at, and offer the way back; for the frame of the pages."""
    opened = workspace.opened
    if opened is None:
        return
    st.warning(f"**Read-only session.** {plain(opened.why)}", icon=":material/visibility:")
    st.button(
        "Close the session",
        key="session.close",
        on_click=close_session,
        args=(workspace,),
        icon=":material/close:",
        width="stretch",
        help="Your own work comes back as it was",
    )
