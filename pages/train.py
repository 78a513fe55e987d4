import streamlit as st

from analysis.training.arms import METHOD_ARMS, WIDTH_ARMS, Arm
from quant.training.settings import TrainingMethod
from ui.state.workspace import present_workspace
from ui.train.form import describe_task, training_form
from ui.train.jobs import (
    is_training,
    start_arms,
    start_forecast,
    start_rate_finder,
    start_training,
)
from ui.train.results import (
    show_arms,
    show_changes,
    show_forecast,
    show_live_curves,
    show_rates,
    show_training_curves,
    show_training_outcome,
)
from ui.widgets.job_text import UNDER_WAY
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
    task = training_form(work, network)
except ValueError as error:
    st.error(plain(str(error)))
    st.stop()
st.caption(describe_task(task))
busy = is_training(work)
buttons = st.container(horizontal=True)
if buttons.button(
    "What would it cost and gain?",
    key="train.ask",
    disabled=busy,
    icon=":material/help:",
    help="Times three steps, scores repairs, and trains 50 steps as a probe",
):
    start_forecast(work, task)
    st.rerun()
if buttons.button(
    "Find a rate",
    key="train.find",
    disabled=busy,
    icon=":material/speed:",
    help="Trains 40 steps at growing rates and forgets them",
):
    start_rate_finder(work, task)
    st.rerun()
if buttons.button(
    "Train",
    type="primary",
    key="train.start",
    disabled=busy,
    icon=":material/school:",
    help="Runs beside the page; a training that was stopped goes on",
):
    start_training(work, task)
    st.rerun()
if busy:
    st.info(f"{UNDER_WAY} A cancelled training goes on where it was.", icon=":material/pending:")
show_forecast(work, task.settings)
show_rates(work)
running = busy and work.training.outcome is None and work.training.task is not None
if running or (busy and work.training.arms):
    show_live_curves(work)
elif work.training.task is not None:
    show_training_curves(work)
if work.training.outcome is not None:
    st.subheader("What it brought", anchor=False)
    show_training_outcome(work, work.training.outcome)
    with st.expander("What changed: encodings, codes, weights"):
        show_changes(work.training.outcome)

st.subheader("Side by side", anchor=False)
widths = task.settings.method is TrainingMethod.NEURON_WIDTHS
offered = WIDTH_ARMS if widths else METHOD_ARMS
chosen = st.multiselect(
    "Trainings with the same data and steps",
    [*Arm],
    default=list(offered),
    key=f"train.arms.{'widths' if widths else 'methods'}",
    help="Controls of learned widths have the mean width that the neurons learned",
)
if st.button(
    "Train them one after the other",
    key="train.arms",
    disabled=busy or not chosen,
    icon=":material/compare_arrows:",
):
    start_arms(work, task, tuple(chosen))
    st.rerun()
if not busy:
    show_arms(work)
