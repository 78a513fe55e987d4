"""The measured steps of a recipe: the waterfall, a sentence for each repair, the table."""

from collections.abc import Sequence

import streamlit as st

from analysis.runs.repair import RepairStep
from figures.repair.waterfall import repair_waterfall
from ui.repair.view import repair_step_table, step_intervals, step_score, step_verdicts
from ui.widgets.figure import show_figure

DECIMALS = ("top-1 %", "agreement %", "output SQNR dB", "its SQNR dB", "float top-1 %", "seconds")


def show_steps(steps: Sequence[RepairStep], key: str) -> None:
    """Draw the effect of the steps; `key` distinguishes the chart from charts of other steps."""
    first = steps[0].evaluation
    figure = repair_waterfall(
        [step.title for step in steps],
        [step_score(step) for step in steps],
        first.float_top1,
        "Top-1" if first.labelled else "Agreement with float",
        step_intervals(steps),
    )
    show_figure(figure, key)
    step_verdicts(steps)
    formats = {name: st.column_config.NumberColumn(format="%.2f") for name in DECIMALS}
    table = repair_step_table(steps)
    st.dataframe(table, hide_index=True, width="stretch", column_config=formats)
