import streamlit as st

from analysis.runs.experiment import smooth_for
from figures import takeaway
from figures.repair.waterfall import repair_waterfall
from ui.repair.form import recipe_form
from ui.repair.view import (
    is_of_present_work,
    is_repairing,
    keep_repaired_form,
    pass_details,
    repair_step_table,
    show_before_after,
    start_repair,
    step_intervals,
    step_score,
    step_verdicts,
    use_recipe_button,
)
from ui.state.workspace import present_workspace
from ui.widgets.markdown import plain
from ui.widgets.prerequisites import needed_images

work = present_workspace()

st.title("Repair")
st.caption(
    "What helps, and why? Passes of the white paper, one after the other, each measured. "
    "The standard order: equalize, absorb biases, AdaRound or bias correction."
)

network, parts = needed_images(work, "A repair needs a model and images to measure it on.")
st.markdown(
    f"**{plain(work.experiment.display_name)}** on **{plain(network.name)}** · passes learn from "
    f"{len(parts.calibration or ())} images, without labels · {len(parts.score)} others are scored"
    + ("" if parts.score.labelled else
       ", without labels too: agreement with the float network and SQNR take accuracy's place")
)  # fmt: skip
recipe = recipe_form(smooth_for(work.config))
if st.button(
    "Run the recipe and measure every step", type="primary", icon=":material/healing:",
    key="repair.run", disabled=not recipe or is_repairing(work),
    help="Runs beside the page; cancel at any time",
) and recipe:  # fmt: skip
    start_repair(work, recipe)
    work.notes.append("The recipe is under way; progress and Cancel are in the side bar.")
    st.rerun()

found = work.repaired
if found is None and is_repairing(work):
    st.info("Under way: results appear here; progress and Cancel are in the side bar.")
    st.stop()
if found is None:
    st.info("No recipe has run yet. Try equalization on fashion-mobilenet-imbalanced at W8A8 "
            "per-tensor: the textbook case.", icon=":material/lightbulb:")  # fmt: skip
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
labelled = steps[0].evaluation.labelled
figure = repair_waterfall(
    [step.title for step in steps],
    [step_score(step) for step in steps],
    steps[0].evaluation.float_top1,
    "Top-1" if labelled else "Agreement with float",
    step_intervals(steps),
)
st.plotly_chart(figure, key="repair.waterfall", alt=takeaway(figure))
step_verdicts(steps)
table = repair_step_table(steps)
st.dataframe(
    table, hide_index=True, width="stretch",
    column_config={
        name: st.column_config.NumberColumn(format="%.2f")
        for name in ("top-1 %", "agreement %", "output SQNR dB", "its SQNR dB", "float top-1 %",
                     "seconds")
    },
)  # fmt: skip
keep_repaired_form(work, found)

st.subheader("Before and after", anchor=False)
if len(steps) > 1:
    show_before_after(steps, work.picked)
st.subheader("What the passes found", anchor=False)
pass_details(found.study.network, steps)
