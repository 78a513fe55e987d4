from dataclasses import replace

import streamlit as st

from analysis.runs.verdict import loses_much_accuracy
from figures.cost.energy import energy_by_component, energy_by_layer
from figures.cost.roofline import roofline_chart
from figures.cost.widths import requested_and_effective
from figures.quality.layer_sqnr import layer_images_note, sqnr_by_layer
from ui.model.task_facts import accuracy_substitute
from ui.runs.annotations import filter_by_tag, show_annotation
from ui.runs.compare_view import show_comparison
from ui.runs.forms import (
    manage_run,
    missing_runs_reason,
    run_form,
    show_disagreements,
)
from ui.runs.report import report_box
from ui.runs.run_views import own_model_first, select_runs, show_width_table
from ui.runs.under_way import show_runs_under_way
from ui.runs.verdict import run_heading, show_run_verdict
from ui.session.present_run import present_run
from ui.state.workspace import present_workspace
from ui.widgets.cards import cost_cards, score_cards
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain
from ui.widgets.prerequisites import say_missing
from ui.widgets.tables import distinct_names

VIEWS = {
    "Energy": (energy_by_component, energy_by_layer),
    "Roofline": (roofline_chart,),
    "Widths": (requested_and_effective,),
}
work = present_workspace()

st.title("Run and compare")
st.caption("What happened? Accuracy is measured on your data; cost is estimated for the machine.")

if work.opened is not None:
    st.info(plain(work.data_problem), icon=":material/visibility:")
elif work.network is None or work.parts is None:
    say_missing(work, "A run needs a model and images.")
else:
    labelled = work.parts.score.labelled
    unlabelled = "" if labelled or work.parts.metric else " without labels"
    names = (
        plain(work.experiment.display_name),
        plain(work.network.name),
        plain(work.parts.score.name),
    )
    st.markdown(
        f"**{names[0]}** on **{names[1]}**, {len(work.parts.score)} {work.network.noun}s of "
        f"{names[2]}{unlabelled}, machine {plain(work.machine.title)}"
    )
    stands = accuracy_substitute(work.network, labelled=labelled)
    if work.parts.metric is not None:
        stands = f"Scored by {plain(work.parts.metric.name)}."
    if stands:
        st.caption(stands)
    run_form(work, work.config)

waiting = show_runs_under_way(work)
newest_first = work.store.all_runs()
runs = own_model_first(newest_first, work.network)
if not runs and waiting:
    st.stop()
if not runs:
    st.info(missing_runs_reason(work))
    st.stop()

st.subheader("Runs", anchor=False)
runs = filter_by_tag(runs)
shown = select_runs(runs)
if len(shown) > 1:
    distinct = dict(zip((run.id for run in runs), distinct_names(runs), strict=True))
    oldest_first = sorted(shown, key=newest_first.index, reverse=True)
    show_comparison(work, [replace(run, name=distinct[run.id]) for run in oldest_first])
    st.stop()

run = shown[0]
run_heading(run)
show_annotation(run)
if work.opened is not None:  # only looked at: what a presenter shows
    present_run(work, run)
else:
    show_run_verdict(work, run, runs)
score_cards(run)
cost_cards(run.cost)
# a run that lost much opens on where it lost
first, view_key = (
    ("SQNR by layer", "runs.view.loss") if loses_much_accuracy(run) else ("Energy", "runs.view")
)
view = st.segmented_control(
    "View",
    [*VIEWS, "SQNR by layer", "Table", "Disagreements"],
    default=first,
    key=view_key,
    persist_state="session",
    required=True,
    label_visibility="collapsed",
)
if view == "Table":
    show_width_table(run)
elif view == "Disagreements":
    show_disagreements(work, run)
else:
    makers = VIEWS.get(view or first, ())
    figures = [make(run.cost) for make in makers] or [sqnr_by_layer(run.layer_sqnr_db)]
    for number, figure in enumerate(figures):
        show_figure(figure, f"runs.{view}.{number}")
    if view == "SQNR by layer":
        st.caption(layer_images_note(run.cost.noun))
for note in run.cost.notes:
    st.caption(f":material/info: {plain(note)}")
manage_run(work, run)
st.subheader("Report", anchor=False)
report_box(work, run)
