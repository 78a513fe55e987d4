import streamlit as st

from analysis.sensitivity.sweep import Depth
from ui.answers.sensitivity import (
    active_sweep_job,
    deepest_answers,
    is_measuring_noise,
    other_view_answers,
    prepare_tensor_noise,
    requested_questions,
    screened_for_request,
)
from ui.navigation import MODEL
from ui.sensitivity.form import sweep_buttons, sweep_request_form
from ui.sensitivity.lens import choose_lens
from ui.sensitivity.opening import show_opening
from ui.sensitivity.suspect_card import show_suspect_card
from ui.sensitivity.view import (
    answers_note,
    depth_charts,
    layer_list,
    metric_comparisons,
    say_if_empty,
    screening_agreement_note,
    show_worst_layers,
)
from ui.session.opened_results import show_opened_sensitivity
from ui.state.workspace import present_workspace
from ui.widgets.explain import SQNR
from ui.widgets.prerequisites import needed_network

POLL_S = 1.5

work = present_workspace()

st.title("Sensitivity")
st.caption(
    "Which layers cost most? What each costs when it is quantized, and which repair to try.",
    help=SQNR,
)

if work.opened is not None:
    show_opened_sensitivity(work)
    st.stop()
needed_network(work)

asked = sweep_request_form(work)
if prepare_tensor_noise(work, asked):
    st.rerun()  # the frame shows the job
if work.parts is None and asked.depth is not Depth.INSTANT:
    st.info(
        work.data_problem
        or "Screening and exact answers need images; none are chosen. "
        "What can be said without is below.",
        icon=":material/image:",
    )
    st.page_link(MODEL, label="Choose images", icon=":material/deployed_code:")


@st.fragment(run_every=POLL_S if active_sweep_job(work) or is_measuring_noise(work) else None)
def show_answers() -> None:
    """Draw the answers; the fragment runs again during a sweep."""
    work.hold_statistics()
    cells = requested_questions(work, asked)
    found = deepest_answers(work, asked)
    sweep_buttons(work, asked, found, len(cells))
    show_opening(work, found)
    if say_if_empty(found, preparing=is_measuring_noise(work)) or found is None:
        return
    answers_note(work, found, asked.depth)
    screening_agreement_note(screened_for_request(work, asked), found)
    lens = choose_lens(work, found, cells)
    listed, suspect = st.columns([1.3, 1], gap="medium")
    with listed:
        layer_list(work, found, lens)
        show_worst_layers(work, found, lens)
    with suspect:
        show_suspect_card(work, found, asked, lens)
    depth_charts(work, found, cells, lens)
    metric_comparisons(work, found, other_view_answers(work, asked), lens)


show_answers()
