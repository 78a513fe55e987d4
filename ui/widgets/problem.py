"""The failure of a job, in a sentence or as a bug."""

import logging

import streamlit as st

from quant.errors import QuantError
from ui.request_guard import paths_open
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

_LOG = logging.getLogger(__name__)


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
