import streamlit as st

from ui.state.workspace import present_workspace
from ui.train.view import (
    is_training,
    show_forecast,
    show_live_curves,
    show_training_curves,
    show_training_outcome,
    start_forecast,
    start_training,
    training_form,
)
from ui.widgets.markdown import plain
from ui.widgets.prerequisites import needed_images

work = present_workspace()

st.title("Train")
st.caption(
    "Is it worth it, and is it working? The network goes on learning with its weights and "
    "activations on their encodings. Repair is cheaper: ask first what training would add."
)

network, _ = needed_images(work, "Training needs a model and images.")
st.markdown(f"**{plain(work.experiment.display_name)}** on **{plain(network.name)}**")
try:
    task = training_form(work)
except ValueError as error:
    st.error(plain(str(error)))
    st.stop()
if task is None:
    st.stop()
st.caption(plain(task.split.counts_sentence))
busy = is_training(work)
left, right = st.columns(2)
if left.button(
    "Ask what it costs and what it would gain",
    key="train.ask",
    disabled=busy,
    icon=":material/help:",
    width="stretch",
    help="Times three steps, scores repairs, and trains 50 steps as a probe",
):
    start_forecast(work, task)
    st.rerun()
if right.button(
    "Train",
    type="primary",
    key="train.start",
    disabled=busy,
    icon=":material/school:",
    width="stretch",
    help="Runs beside the page; a training that was stopped goes on",
):
    start_training(work, task)
    work.notes.append("The training is under way; progress and Cancel are in the side bar.")
    st.rerun()
show_forecast(work, task.settings.steps)
if busy and work.training.task is not None and work.training.outcome is None:
    show_live_curves(work)
elif work.training.task is not None:
    show_training_curves(work)
if work.training.outcome is not None:
    st.subheader("What it brought", anchor=False)
    show_training_outcome(work.training.outcome)
