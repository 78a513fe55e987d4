"""The results of a looked-at session, drawn from the content of the session file."""

import pandas as pd
import streamlit as st

from accelerator.machine import machine_title
from analysis.cost.quantity import Quantity
from analysis.mixed_precision.pareto_record import FrontPoint, FrontRecord
from analysis.reporting.trade_off import trade_off_from_record
from figures.style.units import format_bytes, format_energy, format_time
from figures.tradeoffs.report_front import trade_off_chart
from figures.tradeoffs.wording import QualityScale, quality_text
from ui.sensitivity.lens import choose_lens
from ui.sensitivity.view import (
    answers_note,
    depth_charts,
    layer_list,
    show_worst_layers,
)
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain

NONE = (
    "This session holds no sensitivities: no layer of its model was screened or swept before it "
    "was saved."
)


def show_opened_sensitivity(workspace: Workspace) -> None:
    """Show the sensitivity in the session; without the model, the page cannot ask for more."""
    if workspace.opened is None:
        return
    session = workspace.opened.session
    found = session.sensitivity
    if found is None or not found.scores:
        st.info(NONE, icon=":material/info:")
        return
    st.caption(f"As the session holds them for {plain(session.model.name)}; nothing is run here.")
    answers_note(workspace, found, found.depth)
    cells = [score.question for score in found.scores]
    lens = choose_lens(workspace, found, cells, whole=True)
    listed, drawn = st.columns(2, gap="medium")
    with listed:
        layer_list(workspace, found, lens)
    with drawn:
        show_worst_layers(workspace, found, lens)
    depth_charts(workspace, found, cells, lens)


def show_opened_fronts(workspace: Workspace) -> None:
    """Draw each front with the runs on its machine, and show the points of the front as a table."""
    if workspace.opened is None:
        return
    session = workspace.opened.session
    records = [front for found in session.found for front in found.fronts]
    if not records:
        st.info("This session holds no trade-offs.")
    for number, record in enumerate(records):
        st.subheader(
            f"{str(record.quantity).capitalize()} on {plain(machine_title(record.machine))}"
        )
        figure = trade_off_chart(trade_off_from_record(record, session.runs))
        key = f"tradeoffs.opened.{number}"
        show_figure(figure, key, toolbar=False)
        st.dataframe(
            _front_table(record),
            key=f"{key}.table",
            hide_index=True,
            width="stretch",
            alt=f"Best trade-offs on {machine_title(record.machine)}",
        )


def _front_table(record: FrontRecord) -> pd.DataFrame:
    points = (*record.proposals, *record.references)
    return pd.DataFrame([_front_point_row(point, record) for point in points])


def _front_point_row(point: FrontPoint, record: FrontRecord) -> dict[str, object]:
    told, eight = point.prediction.loss is not None, record.eight[record.quantity]
    lost = (
        quality_text(QualityScale(by_loss=True, float_top1=1.0), point.prediction) if told else "?"
    )
    return {
        "name": point.name,
        "predicted SQNR": quality_text(
            QualityScale(by_loss=False, float_top1=None), point.prediction
        ),
        "predicted share of float's answers": lost,
        f"{record.quantity} % of W8A8": round(100 * point.costs[record.quantity] / eight, 1),
        "energy": format_energy(point.costs[Quantity.ENERGY]),
        "latency": format_time(point.costs[Quantity.LATENCY]),
        "weights": format_bytes(int(point.costs[Quantity.SIZE])),
        "peak memory": format_bytes(int(point.costs[Quantity.MEMORY])),
    }
