"""How a job failed, in a sentence or as the bug that stopped it."""

import logging

import streamlit as st

from quant.errors import QuantError
from ui.request_guard import paths_open
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

_LOG = logging.getLogger(__name__)


def show_problem(workspace: Workspace, title: str, problem: Exception | None) -> None:
    """Show an error in its own words if it is one a user can put right, else as the bug it is.

    The lines of code where a bug stopped are for the person at this machine, and for the log.
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
