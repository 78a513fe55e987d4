import streamlit as st

from figures import takeaway
from figures.repair.waterfall import waterfall
from ui.repair.form import recipe_form
from ui.repair.view import (
    before_after,
    details,
    intervals,
    is_of_present,
    keep_repaired,
    score_of,
    start_repair,
    step_table,
    under_way,
    use_recipe,
    verdicts,
)
from ui.state.workspace import workspace
from ui.widgets.markdown import plain
from ui.widgets.prerequisites import needed_images

work = workspace()

st.title("Repair")
st.caption(
    "What helps, and why? Passes of the white paper, one after the other, each measured. "
    "The standard order: equalize, absorb biases, AdaRound or bias correction."
)

network, parts = needed_images(work, "A repair needs a model and images to measure it on.")
st.markdown(
    f"**{plain(work.experiment.name)}** on **{plain(network.name)}** · passes learn from "
    f"{len(parts.calibration or ())} images, without labels · {len(parts.score)} others are scored"
    + ("" if parts.score.labelled else
       ", without labels too: agreement with the float network and SQNR take accuracy's place")
)  # fmt: skip
recipe = recipe_form()
if st.button(
    "Run the recipe and measure every step", type="primary", icon=":material/healing:",
    key="repair.run", disabled=not recipe or under_way(work),
    help="Runs beside the page; cancel at any time",
) and recipe:  # fmt: skip
    start_repair(work, recipe)
    work.notes.append("The recipe is under way; progress and Cancel are in the side bar.")
    st.rerun()

found = work.repaired
if found is None and under_way(work):
    st.info("Under way: results appear here; progress and Cancel are in the side bar.")
    st.stop()
if found is None:
    st.info("No recipe has run yet. Try equalization on fashion-mobilenet-imbalanced at W8A8 "
            "per-tensor: the textbook case.", icon=":material/lightbulb:")  # fmt: skip
    st.stop()

if is_of_present(work, found):
    use_recipe(work, found)
else:
    st.warning(
        f"These results are of {plain(found.experiment.name)} on "
        f"{plain(found.study.network.name)}; what is chosen now differs.",
        icon=":material/history:",
    )
steps = found.steps
labelled = steps[0].evaluation.labelled
figure = waterfall(
    [step.title for step in steps],
    [score_of(step) for step in steps],
    steps[0].evaluation.float_top1,
    "Top-1" if labelled else "Agreement with float",
    intervals(steps),
)
st.plotly_chart(figure, key="repair.waterfall", alt=takeaway(figure))
verdicts(steps)
table = step_table(steps)
st.dataframe(
    table, hide_index=True, width="stretch",
    column_config={
        name: st.column_config.NumberColumn(format="%.2f")
        for name in ("top-1 %", "agreement %", "output SQNR dB", "its SQNR dB", "float top-1 %",
                     "seconds")
    },
)  # fmt: skip
keep_repaired(work, found)

st.subheader("Before and after", anchor=False)
if len(steps) > 1:
    before_after(steps, work.picked)
st.subheader("What the passes found", anchor=False)
details(found.study.network, steps)
