import streamlit as st

from analysis.runs.compare_runs import with_distinct_names
from analysis.runs.verdict import lost_much
from figures import takeaway
from figures.cost.energy import energy_by_component, energy_by_layer, energy_comparison
from figures.cost.roofline import roofline
from figures.cost.widths import requested_and_effective
from figures.quality.accuracy import accuracy_with_interval
from figures.quality.layer_sqnr import compare_layers, sqnr_by_layer
from ui.model.task_facts import in_place_of_accuracy
from ui.runs.forms import differences, disagreements, manage_run, run_form, why_none
from ui.runs.report import report_box
from ui.runs.verdict import run_heading, show_verdict
from ui.state.workspace import workspace
from ui.widgets.cards import cost_cards, score_cards
from ui.widgets.csv_text import csv_text
from ui.widgets.markdown import plain
from ui.widgets.prerequisites import say_missing
from ui.widgets.tables import effective_table, run_table

VIEWS = {
    "Energy": (energy_by_component, energy_by_layer),
    "Roofline": (roofline,),
    "Widths": (requested_and_effective,),
}
work = workspace()

st.title("Run and compare")
st.caption("What happened? Accuracy is measured on your images; cost is estimated for the machine.")

if work.network is None or work.parts is None:
    say_missing(work, "A run needs a model and images.")
else:
    labelled = work.parts.score.labelled
    unlabelled = "" if labelled else " without labels"
    names = plain(work.experiment.name), plain(work.network.name), plain(work.parts.score.name)
    st.markdown(
        f"**{names[0]}** on **{names[1]}**, {len(work.parts.score)} images of "
        f"{names[2]}{unlabelled}, machine {plain(work.machine.title)}"
    )
    if stands := in_place_of_accuracy(work.network, labelled=labelled):
        st.caption(stands)
    run_form(work, work.config)

runs = work.store.all()
if not runs:
    st.info(why_none(work))
    st.stop()

st.subheader("Runs", anchor=False)
picked = st.dataframe(
    run_table(runs), key="runs.table", hide_index=True, on_select="rerun",
    selection_mode="multi-row", width="stretch", height=min(38 + 35 * len(runs), 300),
    alt="All runs, the newest first", placeholder="",
    column_config={
        "name": st.column_config.TextColumn(pinned=True, width=200),
        **{
            column: st.column_config.NumberColumn(format=f"%.{digits}f")
            for column, digits in
            {"top-1 %": 2, "drop": 2, "agreement %": 2, "SQNR dB": 1, "seconds": 1}.items()
        },
    },
)["selection"]["rows"]  # fmt: skip
st.caption("Tick one run to see it, two to compare. Without a tick the newest is shown.")
shown = [runs[row] for row in picked if row < len(runs)][:2] or [runs[0]]

if len(shown) == 2:
    before, after = with_distinct_names(*sorted(shown, key=runs.index, reverse=True))
    st.subheader(plain(f"{after.name} against {before.name}"), anchor=False)
    differences(before, after)
    classes = before.evaluation.classes and after.evaluation.classes
    for number, figure in enumerate(
        (
            *([accuracy_with_interval([before, after])] if classes else []),
            energy_comparison({before.name: before.cost, after.name: after.cost}),
            compare_layers(before, after),
        )
    ):
        st.plotly_chart(figure, key=f"runs.compare.{number}", alt=takeaway(figure))
    st.stop()

run = shown[0]
run_heading(run)
show_verdict(work, run, runs)
score_cards(run)
cost_cards(run.cost)
# a run that lost much opens on where it lost
first, view_key = ("SQNR by layer", "runs.view.loss") if lost_much(run) else ("Energy", "runs.view")
view = st.segmented_control(
    "View", [*VIEWS, "SQNR by layer", "Table", "Disagreements"], default=first,
    key=view_key, persist_state="session", required=True, label_visibility="collapsed",
)  # fmt: skip
if view == "Table":
    table = effective_table(run.cost)
    st.dataframe(
        table, hide_index=True, width="stretch", height=480, alt="Widths and cost by layer",
        column_config={
            **{name: st.column_config.NumberColumn(format="localized") for name in
               ("MACs", "cycles")},
            **{name: st.column_config.NumberColumn(format="%.1f") for name in
               ("energy nJ", "latency µs", "utilization %")},
        },
    )  # fmt: skip
    st.download_button("Table as CSV", csv_text(table), f"{run.name}.csv", "text/csv")
elif view == "Disagreements":
    disagreements(work, run)
else:
    makers = VIEWS.get(view or first, ())
    figures = [make(run.cost) for make in makers] or [sqnr_by_layer(run.layer_sqnr_db)]
    for number, figure in enumerate(figures):
        st.plotly_chart(figure, key=f"runs.{view}.{number}", alt=takeaway(figure))
for note in run.cost.notes:
    st.caption(f":material/info: {plain(note)}")
manage_run(work, run)
st.subheader("Report", anchor=False)
report_box(work, run)
