"""The measured steps of a recipe: the waterfall, a sentence for each repair, the table."""

from collections.abc import Sequence

import streamlit as st

from analysis.evaluation.told_score import ScoreUnit
from analysis.runs.repair import RepairStep, told_of_steps
from figures.repair.waterfall import repair_waterfall
from ui.repair.view import repair_step_table, step_verdicts
from ui.widgets.figure import show_figure

DECIMALS = ("agreement %", "output SQNR dB", "its SQNR dB", "float top-1 %", "seconds")


def show_steps(steps: Sequence[RepairStep], key: str) -> None:
    """Draw the effect of the steps; `key` distinguishes the chart from charts of other steps."""
    scores = told_of_steps(steps)
    figure = repair_waterfall([step.title for step in steps], scores)
    show_figure(figure, key)
    step_verdicts(steps)
    formats = {name: st.column_config.NumberColumn(format="%.2f") for name in DECIMALS}
    own = "%.4g" if scores[0].unit is ScoreUnit.OWN else "%.2f"
    formats[scores[0].unit_label] = st.column_config.NumberColumn(format=own)
    table = repair_step_table(steps)
    st.dataframe(table, hide_index=True, width="stretch", column_config=formats)
