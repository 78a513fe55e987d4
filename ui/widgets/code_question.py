"""The question that is asked once before Python of the user's own runs, naming the file."""

from collections.abc import Callable

import streamlit as st

from ui.state.code_consent import allow_code_run, code_file, needs_consent
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain


def run_if_allowed(
    workspace: Workspace, place: str, code: str | None, action: Callable[[], None]
) -> None:
    """Do `action`, which runs `code`; where nobody has agreed to that file yet, ask first.

    The question stays at `place` until it is answered; `show_code_question` draws it.
    """
    if not code or not needs_consent(workspace.store, code):
        action()
    else:
        st.session_state[place] = (code, action)
        st.rerun()


def show_code_question(workspace: Workspace, place: str) -> None:
    """Draw the question that waits at `place`, if one does, and act on the answer."""
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
