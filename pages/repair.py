import streamlit as st

from analysis.runs.experiment import smooth_for
from ui.model.task_facts import scored_by_text
from ui.repair.form import recipe_form
from ui.repair.recommend import show_recommendation
from ui.repair.steps import show_steps
from ui.repair.view import (
    is_of_present_work,
    is_repairing,
    keep_repaired_form,
    pass_details,
    show_before_after,
    start_repair,
    use_recipe_button,
)
from ui.state.workspace import present_workspace
from ui.widgets.explain import RECIPE
from ui.widgets.job_text import UNDER_WAY
from ui.widgets.markdown import plain
from ui.widgets.prerequisites import needed_images

POLL_S = 1.5

work = present_workspace()

st.title("Repair")
st.caption(
    "What helps, and why? Repairs of the white paper, one after the other, each measured. "
    "The standard order: equalize, absorb biases, AdaRound or bias correction.",
    help=RECIPE,
)

network, parts = needed_images(work, "A repair needs a model and images to measure it on.")
st.markdown(
    f"**{plain(work.experiment.display_name)}** on **{plain(network.name)}** · repairs learn from "
    f"{len(parts.calibration or ())} {network.noun}s, without labels · {len(parts.score)} others "
    "are scored" + scored_by_text(network, parts)
)
show_recommendation(work)
recipe = recipe_form(smooth_for(work.config))
if (
    st.button(
        "Run the recipe and measure every step",
        type="primary",
        icon=":material/healing:",
        key="repair.run",
        disabled=not recipe or is_repairing(work),
        help="Runs beside the page; cancel at any time",
    )
    and recipe
):
    start_repair(work, recipe)
    st.rerun()


@st.fragment(run_every=POLL_S if is_repairing(work) else None)
def steps_so_far() -> None:
    """Show the measured steps of the running recipe."""
    st.info(f"{UNDER_WAY} Each step appears here once it is measured.", icon=":material/pending:")
    if work.repairing is not None:
        show_steps(work.repairing.steps, "repair.so_far")


if is_repairing(work):
    steps_so_far()
    st.stop()
found = work.repaired
if found is None:
    st.info("No recipe has run yet.")
    st.stop()

if is_of_present_work(work, found):
    use_recipe_button(work, found)
else:
    st.warning(
        f"These results are of {plain(found.experiment.display_name)} on "
        f"{plain(found.study.network.name)}; what is chosen now differs.",
        icon=":material/history:",
    )
steps = found.steps
show_steps(steps, "repair.waterfall")
keep_repaired_form(work, found)

st.subheader("Before and after", anchor=False)
if len(steps) > 1:
    show_before_after(steps, work.picked)
st.subheader("What the repairs did", anchor=False)
pass_details(found.study.network, steps)
