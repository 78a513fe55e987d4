"""The needs of a page: a missing model or missing images, told with a link to the remedy."""

import streamlit as st

from analysis.network import Network
from analysis.split import Split
from analysis.study import Study
from ui.navigation import MODEL, RUNS
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

NO_MODEL = "No model is loaded."
ONLY_LOOKED_AT = (
    "This session is only looked at: its model is not loaded, so this page has nothing to work "
    "on. What the session holds is on Sensitivity, Trade-offs, and Run and compare."
)


def needed_network(workspace: Workspace) -> Network:
    """Return the model, with a fitting configuration; otherwise tell the problem and stop."""
    network = workspace.network
    if network is None:
        if workspace.opened is None:
            _say_with_link(NO_MODEL, "Choose one")
        else:
            say_only_looked_at()
        st.stop()
    if problem := workspace.config_misfit():
        st.error(plain(problem))
        st.stop()
    return network


def needed_study(workspace: Workspace) -> Study:
    """Return the model, with the newest statistics for a job; without a model, stop the page."""
    needed_network(workspace)
    study = workspace.job_study
    if study is None:
        st.stop()
    return study


def needed_images(workspace: Workspace, why: str) -> tuple[Network, Split]:
    """Return the model and its images; without images, tell `why` the page needs them, and stop."""
    if workspace.network is None or workspace.parts is None:
        say_missing(workspace, why)
        st.stop()
    return needed_network(workspace), workspace.parts


def say_missing(workspace: Workspace, why: str) -> None:
    """Tell the missing model or images, or the problem with the images, and link the remedy."""
    if workspace.opened is not None:
        say_only_looked_at()
        return
    _say_with_link(workspace.data_problem or why, "Choose them")


def say_only_looked_at() -> None:
    """Tell that a session is only looked at, and link what the session holds."""
    st.info(ONLY_LOOKED_AT, icon=":material/visibility:")
    st.page_link(RUNS, label="See its runs", icon=":material/play_circle:")


def _say_with_link(text: str, link: str) -> None:
    st.info(plain(text))
    st.page_link(MODEL, label=link, icon=":material/deployed_code:")
