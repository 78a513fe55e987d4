"""The question before the first run of a file with the user's Python code."""

from collections.abc import Callable

import streamlit as st

from ui.state.code_consent import allow_code_run, code_file, needs_consent
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain


def run_if_allowed(
    workspace: Workspace, place: str, code: str | None, action: Callable[[], None]
) -> None:
    """Do `action`, which runs `code`; ask first about a file without the user's consent.

    The question stays at `place` until the answer; `show_code_question` draws the question.
    """
    if not code or not needs_consent(workspace.store, code):
        action()
    else:
        st.session_state[place] = (code, action)
        st.rerun()


def show_code_question(workspace: Workspace, place: str) -> None:
    """Draw the question at `place`, if a question waits, and act on the answer."""
    if place not in st.session_state:
        return
    code, action = st.session_state[place]
    file = code_file(code)
    st.warning(
        f"**{plain(str(file))}** is Python code. It will run on this machine with your rights, "
        "and can read and change your files. Run it only if you trust it.",
        icon=":material/code:",
    )
    row = st.container(horizontal=True)
    if row.button(f"Run {plain(file.name)}", key=f"{place}.run", type="primary"):
        del st.session_state[place]
        allow_code_run(workspace.store, code)
        action()
    if row.button("Do not run it", key=f"{place}.refuse"):
        del st.session_state[place]
        st.rerun()
