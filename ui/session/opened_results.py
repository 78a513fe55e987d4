"""The sensitivities of a session that is only looked at: drawn from what its file says."""

import streamlit as st

from analysis.sensitivity.sweep import Sensitivity
from analysis.session_file import Session
from ui.sensitivity.view import choose_lens, depth_charts, layer_list, note, worst
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain

NONE = (
    "This session holds no sensitivities: no layer of its model was screened or swept before it "
    "was saved."
)


def opened_sensitivity(workspace: Workspace) -> None:
    """Show the answers that came with the session; without its model no others can be asked for."""
    session: Session = workspace.opened.session
    found: Sensitivity | None = session.sensitivity
    if found is None or not found.scores:
        st.info(NONE, icon=":material/info:")
        return
    st.caption(f"As the session holds them for {plain(session.model.name)}; nothing is run here.")
    note(workspace, found, found.depth)
    cells = [score.question for score in found.scores]
    lens = choose_lens(workspace, found, cells, whole=True)
    listed, drawn = st.columns(2, gap="medium")
    with listed:
        layer_list(workspace, found, lens)
    with drawn:
        worst(workspace, found, lens)
    depth_charts(workspace, found, cells, lens)
