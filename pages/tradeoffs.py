import streamlit as st

from ui.answers.forecast import present_foresight, quality_scale
from ui.job_kind import JobKind
from ui.navigation import SENSITIVITY
from ui.session.opened_results import show_opened_fronts
from ui.state.tradeoffs import Found
from ui.state.workspace import present_workspace
from ui.tradeoffs.form import front_request_form
from ui.tradeoffs.jobs import find_known_fronts, start_front_search
from ui.tradeoffs.notes import show_front_notes
from ui.tradeoffs.view import (
    machine_panels,
    picked_point,
    show_front,
    show_point_bits,
    show_point_details,
    show_point_table,
)
from ui.widgets.prerequisites import needed_images

POLL_S = 1.5

work = present_workspace()

st.title("Trade-offs")
st.caption("What is the best I can have? Bits are chosen layer by layer, for a machine.")

if work.opened is not None:
    show_opened_fronts(work)
    st.stop()
network, _ = needed_images(work, "A trade-off needs a model and images to tell what noise does.")
wish, target = front_request_form(work, network)


@st.fragment(run_every=POLL_S)
def look_for_front() -> None:
    """Draw the page again once the front is known: points may still be measured."""
    if find_known_fronts(work, wish) is not None:
        st.rerun()


found, searching = find_known_fronts(work, wish), work.runner.active_of(JobKind.FRONT)
if found is None:
    if searching is None and st.button(
        "Find the best trade-offs",
        type="primary",
        icon=":material/balance:",
        key="tradeoffs.find",
        help="Screens the layers first where nothing is known: seconds for small networks",
    ):
        start_front_search(work, wish)
        st.rerun()  # the frame shows the job
    st.info(
        "Under way: the front appears here; progress and Cancel are in the side bar."
        if searching
        else "No front yet for this question. Layers are screened or, where Sensitivity has swept "
        "them exactly, taken from there.",
        icon=":material/hourglass_empty:" if searching else ":material/lightbulb:",
    )
    st.page_link(SENSITIVITY, label="Sensitivity of layers", icon=":material/troubleshoot:")
    if searching:
        look_for_front()
    st.stop()


@st.fragment(run_every=POLL_S if work.runner.active_jobs else None)
def show_answers(found: Found) -> None:
    """Draw the fronts; the fragment runs again during runs."""
    work.hold_statistics()
    foresight = present_foresight(work)
    if foresight is None:
        st.info("What was known of the layers has gone; search once more.")
        return
    panels, problems = machine_panels(work, found, foresight, target)
    scale = quality_scale(work, foresight)
    panel, picked = picked_point(work, panels)
    if panel.front.machine in problems:
        st.warning(problems[panel.front.machine], icon=":material/money_off:")
    if len(panels) == 1:
        chart, words = st.columns([1.35, 1], gap="medium")
        cells = words
    else:  # machines side by side need the whole width
        chart = words = cells = st.container()
    with chart:
        show_front(work, panels, scale, picked)
    with words:
        show_point_details(work, found, panel, picked, scale)
    with cells:
        show_point_bits(found, picked)
    show_front_notes(found, foresight, panels, scale)
    show_point_table(work, found, panel, scale)


show_answers(found)
