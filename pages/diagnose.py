import streamlit as st

from analysis.evaluation.lost_score import lost_unit
from ui.diagnose.view import (
    is_of_present,
    is_under_way,
    live_flow,
    show_conclusion,
    show_flow,
    show_losses,
    start_diagnosis,
)
from ui.navigation import EXPORT, MODEL, RUNS
from ui.state.workspace import present_workspace
from ui.widgets.job_text import UNDER_WAY
from ui.widgets.markdown import plain
from ui.widgets.prerequisites import needed_images

work = present_workspace()

st.title("Diagnose")
st.caption(
    "Why did accuracy fall, and what do I do? The steps of the white paper's debugging flow, each "
    "tried and measured; the flow stops at the cheapest recipe that keeps the goal."
)

network, parts = needed_images(work, "A diagnosis needs a model and images to measure it on.")
if not network.is_classifier and parts.metric is None:
    st.info(
        "A diagnosis needs a network that gives a number for each class, or targets for the task's "
        "metric. Name the targets beside the data, on Model."
    )
    st.page_link(MODEL, label="Choose data and targets", icon=":material/photo_library:")
    st.stop()
st.markdown(
    f"**{plain(work.experiment.display_name)}** on **{plain(network.name)}** · {len(parts.score)} "
    f"{network.noun}s are scored · ranges and repairs learn from "
    f"{len(parts.calibration or ())} others"
)
metric = parts.metric
unit = "points of top-1" if metric is None else lost_unit(metric.name, share=metric.share)
left, right = st.columns([1, 2], vertical_alignment="bottom")
points = left.number_input(
    f"{plain(unit[0].upper() + unit[1:])} that may be lost",
    0.0,
    100.0,
    1.0,
    0.5,
    key="diagnose.goal",
    persist_state="session",
    help="Kept where the paired interval of 95 % lies below",
)
busy = is_under_way(work)
if right.button(
    "Diagnose",
    type="primary",
    key="diagnose.start",
    icon=":material/stethoscope:",
    disabled=busy or parts.calibration is None,
    width="stretch",
    help="Runs beside the page; a diagnosis that was cancelled goes on where it was",
):
    start_diagnosis(work, points)
    st.rerun()

state = work.diagnosis
if state.task is None:
    st.info(
        "No diagnosis has run yet. Try fashion-mobilenet-imbalanced at W8A8 per-tensor.",
        icon=":material/lightbulb:",
    )
    st.stop()
if not is_of_present(work, state.task):
    st.warning(
        f"These steps are of {plain(state.task.experiment.display_name)} on "
        f"{plain(state.task.study.network.name)}; what is chosen now differs.",
        icon=":material/history:",
    )
if state.found is None and busy:
    st.info(UNDER_WAY, icon=":material/pending:")
    live_flow(work)
    st.stop()
if state.found is not None:
    show_conclusion(work, state.found)
    show_losses(state.found)
    st.page_link(RUNS, label="See its steps among the runs", icon=":material/play_circle:")
    st.page_link(EXPORT, label="Export the experiment in use", icon=":material/ios_share:")
    st.subheader("The flow", anchor=False)
    show_flow(state.found.steps, network.noun)
else:
    st.info("The diagnosis ended early; Diagnose goes on where it was.")
    show_flow(tuple(state.task.board), network.noun)
