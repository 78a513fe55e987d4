"""Runs compared: what differs first, then answers, classes, layers, accuracy and energy."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from analysis.evaluation.told_score import ScoreMeasure, told_scores, unequal_measures_sentence
from analysis.runs.compare_runs import describe_run_change, differences_by_layer, merge_layer_order
from analysis.runs.json_values import plain_from_result
from analysis.runs.run_answers import class_changes
from analysis.runs.run_store import Run
from figures import Figure
from figures.cost.energy import energy_comparison
from figures.quality.accuracy import accuracy_against_energy, accuracy_with_interval
from figures.quality.class_change import class_change_bars
from figures.quality.layer_sqnr import compare_layers
from ui.runs.changed_images import class_names_of, show_changed_answers
from ui.runs.differing_table import differing_table
from ui.runs.forms import PICTURED
from ui.runs.task_pictures import show_task_pictures
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain

LAYERS_PX = 360


def show_comparison(workspace: Workspace, runs: Sequence[Run]) -> None:
    """Show the differences between runs with distinct names, in order of their creation."""
    first, last = runs[0], runs[-1]
    title = f"{last.name} against {first.name}" if len(runs) == 2 else f"{len(runs)} runs compared"
    st.subheader(plain(title), anchor=False)
    for after in runs[1:]:
        subject = "" if len(runs) == 2 else f"**{plain(after.name)}** against {plain(first.name)}: "
        sentences = describe_run_change(first, after)
        for sentence in sentences if not subject else sentences[:1]:
            st.markdown(f"- {subject}{plain(sentence)}")
    measures = unequal_measures_sentence([run.evaluation for run in runs])
    if measures and len(runs) > 2:  # two runs: among the sentences
        st.markdown(f"- {plain(measures)}")
    st.dataframe(
        differing_table(runs),
        hide_index=True,
        width="stretch",
        height="content",
        alt="What differs between the runs",
    )
    metrics = [run.evaluation.metric for run in runs]
    if all(metric is not None and metric.task in PICTURED for metric in metrics):
        show_task_pictures(workspace, runs)
    elif all(run.evaluation.classes for run in runs):
        show_changed_answers(workspace, runs)
    if len(runs) == 2:
        _show_class_changes(workspace, first, last)
    for number, figure in enumerate(_figures(runs)):
        show_figure(figure, f"runs.compare.{number}")
    _show_layer_differences(runs)


def _show_class_changes(workspace: Workspace, before: Run, after: Run) -> None:
    changes = class_changes(before, after)
    if any(one.lost for one in changes):
        figure = class_change_bars(changes, class_names_of(workspace, before), before.cost.noun)
        show_figure(figure, "runs.compare.classes")
    elif changes:
        st.caption("Each class keeps its number of right answers.")


def _figures(runs: Sequence[Run]) -> list[Figure]:
    found = []
    scores = [run.evaluation for run in runs]
    if told_scores(scores)[0].measure is not ScoreMeasure.SQNR:
        found.append(accuracy_with_interval(runs))
        if len(runs) > 2:
            found.append(accuracy_against_energy(runs))
    found.append(energy_comparison({run.name: run.cost for run in runs}))
    if len(runs) == 2:
        found.append(compare_layers(runs[0], runs[1]))
    return found


def _show_layer_differences(runs: Sequence[Run]) -> None:
    """Show layer by layer how the runs differ: of two runs all facts, of more the SQNR."""
    with st.expander("Layer by layer", icon=":material/table_rows:"):
        if len(runs) == 2:
            rows = [plain_from_result(row) for row in differences_by_layer(runs[0], runs[1])]
            table = pd.DataFrame(rows)
        else:
            table = _sqnr_table(runs)
            st.caption("SQNR of each layer's output in dB, the largest difference first.")
        st.dataframe(
            table, hide_index=True, width="stretch", height=LAYERS_PX, alt="Layers of the runs"
        )


def _sqnr_table(runs: Sequence[Run]) -> pd.DataFrame:
    names: list[str] = []
    for run in runs:
        names = merge_layer_order(names, list(run.layer_sqnr_db))
    table = pd.DataFrame(
        {
            "layer": names,
            **{run.name: [run.layer_sqnr_db.get(name) for name in names] for run in runs},
        }
    )
    values = table.drop(columns="layer").astype(float)
    spread = values.max(axis=1) - values.min(axis=1)
    order = spread.sort_values(ascending=False, kind="stable", na_position="last").index
    return table.loc[order]
