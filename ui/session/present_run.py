"""The presenter's view of a session that is only looked at: one run, told large."""

from dataclasses import replace

import streamlit as st

from analysis.reporting.gather import Around, gather_run_report
from analysis.reporting.trade_off import TradeOff, trade_off_from_record, trade_point_of_run
from analysis.runs.run_store import Run
from analysis.runs.verdict import Level
from figures.document.first_page import judge_report, machine_sentence, main_figures
from quant.progress import drain_steps
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure
from ui.widgets.markdown import plain

LARGE_PX = 480
_BOXES = {Level.DEPLOYABLE: st.success, Level.NOT_DEPLOYABLE: st.error}


def present_run(workspace: Workspace, run: Run) -> None:
    """Show the verdict on a run and the plots of the first page of a report, large."""
    around = Around(store=workspace.store, front=_session_front(workspace, run))
    report = drain_steps(gather_run_report(run, around))
    verdict = judge_report(report)
    box = _BOXES.get(verdict.level, st.warning)
    box(f"### {str(verdict.level).capitalize()}\n\n{plain(verdict.sentence)}")
    for number, figure in enumerate(main_figures(report)):
        key = f"present.{run.id}.{number}"
        show_figure(figure, key, toolbar=False, height_px=LARGE_PX)
    st.caption(plain(machine_sentence(report)))


def _session_front(workspace: Workspace, run: Run) -> TradeOff | None:
    """Return the newest front of the session on the machine of a run, with the run as chosen."""
    if workspace.opened is None:
        return None
    records = [one for found in workspace.opened.session.found for one in found.fronts]
    same = [one for one in records if one.machine == run.cost.machine]
    if not same:
        return None
    front = trade_off_from_record(same[-1], workspace.store.all_runs())
    chosen = trade_point_of_run(run, front.quantity, labelled=front.labelled)
    return replace(front, chosen=chosen)
