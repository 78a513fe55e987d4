import streamlit as st

from analysis.sensitivity.sweep import Depth
from ui.answers.sensitivity import (
    best_known,
    current,
    other_view,
    prepare,
    preparing,
    questions,
    screened_for,
)
from ui.navigation import MODEL
from ui.sensitivity.form import actions, question_form
from ui.sensitivity.suspect_card import card
from ui.sensitivity.view import (
    choose_lens,
    comparisons,
    depth_charts,
    empty,
    layer_list,
    note,
    screening_note,
    worst,
)
from ui.session.opened_results import opened_sensitivity
from ui.state.workspace import workspace
from ui.widgets.prerequisites import needed_network

POLL_S = 1.5

work = workspace()

st.title("Sensitivity")
st.caption("Which layer is guilty? What each costs when it is quantized, and which repair to try.")

if work.opened is not None:
    opened_sensitivity(work)
    st.stop()
needed_network(work)

asked = question_form(work)
if prepare(work, asked):
    st.rerun()  # the frame shows the job
if work.parts is None and asked.depth is not Depth.INSTANT:
    st.info(
        work.data_problem or "Screening and exact answers need images; none are chosen. "
        "What can be said without is below.",
        icon=":material/image:",
    )  # fmt: skip
    st.page_link(MODEL, label="Choose images", icon=":material/deployed_code:")


@st.fragment(run_every=POLL_S if current(work) or preparing(work) else None)
def answers() -> None:
    """Everything that changes while a sweep goes on."""
    work.hold_statistics()
    cells = questions(work, asked)
    found = best_known(work, asked)
    actions(work, asked, found, len(cells))
    if empty(found, preparing=preparing(work)) or found is None:
        return
    note(work, found, asked.depth)
    screening_note(screened_for(work, asked), found)
    lens = choose_lens(work, found, cells)
    listed, suspect = st.columns([1.3, 1], gap="medium")
    with listed:
        layer_list(work, found, lens)
        worst(work, found, lens)
    with suspect:
        card(work, found, asked, lens)
    depth_charts(work, found, cells, lens)
    comparisons(work, found, other_view(work, asked), lens)


answers()
