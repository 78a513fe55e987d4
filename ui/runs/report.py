"""The report of a run: made beside the page, previewed, and downloaded."""

import hashlib
from pathlib import Path

import streamlit as st

from analysis.mixed_precision.pareto_front import Front, move_to_machine
from analysis.mixed_precision.try_configs import front_with_trials
from analysis.reporting.contents import Report, ReportOrigin
from analysis.reporting.flow_page import flow_page_of
from analysis.reporting.gather import Around, gather_run_report
from analysis.reporting.trade_off import TradeOff, trade_off_from_front
from analysis.runs.run_store import Run
from analysis.sensitivity.sweep import Sensitivity
from analysis.study import Study
from figures.document import render_report
from figures.style.units import format_bytes
from quant.progress import Steps, part_of_progress
from ui.answers.forecast import deepest_sensitivity, present_foresight
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.model_and_data import is_bundled_data
from ui.state.workspace import Workspace

PREVIEW_PX = 900
MOST_AUTHOR, MOST_NOTE = 120, 1000  # characters
CALIBRATION_SHARE = 0.4


def report_box(workspace: Workspace, run: Run, front: Front | None = None) -> None:
    """Offer the report of a run: to make, to download, to preview.

    Without `front`, the report shows the last front of Trade-offs for the run's model and machine.
    """
    path = report_path(workspace, run)
    author, note = _words_fields()
    row = st.container(horizontal=True, vertical_alignment="center")
    making = any(
        job.kind is JobKind.REPORT and job.title.endswith(run.name)
        for job in workspace.runner.active_jobs
    )
    if row.button(
        "Make it again" if path.exists() else "Make the report",
        key="report.make",
        icon=":material/description:",
        disabled=making,
        help="One HTML file for people: it loads nothing from anywhere and prints to A4",
    ):
        start_report(workspace, run, front, (author, note))
        st.rerun()
    if not path.exists():
        row.caption("Accuracy, cost, why, what was not measured, and how to reproduce it.")
        return
    row.download_button(
        f"Download ({format_bytes(path.stat().st_size)})",
        data=path.read_bytes,
        file_name=f"{run.name}.html",
        mime="text/html",
        key="report.download",
        icon=":material/download:",
        type="primary",
    )
    if row.toggle("Preview", key=f"report.preview.{path.stem}"):
        # what it holds of names is escaped, and its own policy lets it fetch nothing
        page = path.read_text(encoding="utf-8")
        st.iframe(page, height=PREVIEW_PX, alt=f"Report of {run.name}")


def report_path(workspace: Workspace, run: Run) -> Path:
    """Return the path of a run's report; a renamed run has a different path."""
    place = "" if workspace.opened is None else workspace.opened.folder.name
    told = hashlib.sha256(f"{place} {run.id} {run.name}".encode()).hexdigest()[:24]
    return workspace.folder / f"report-{told}.html"


def _words_fields() -> tuple[str, str]:
    """Show the fields for author and note; return both texts."""
    with st.popover("Author and note", icon=":material/edit_note:"):
        author = st.text_input(
            "Author", key="report.author", persist_state="session", max_chars=MOST_AUTHOR
        )
        note = st.text_area(
            "Note on the first page",
            key="report.note",
            persist_state="session",
            max_chars=MOST_NOTE,
            placeholder="What is decided, and until when",
        )
    return author.strip(), note.strip()


def start_report(
    workspace: Workspace,
    run: Run,
    front: Front | None = None,
    words: tuple[str, str] = ("", ""),
) -> None:
    """Queue the report; the job calibrates and screens a repaired network where that is missing.

    `words` are the author and the note of the first page.
    """
    study = _study_of_run(workspace, run)
    path, known = report_path(workspace, run), _sensitivity_to_report(workspace, study)
    shown, then = front_with_run(workspace, run, front), workspace.copy_for_job()
    workspace.runner.submit(
        Job(
            JobKind.REPORT,
            f"{JobKind.REPORT} {run.name}",
            lambda: _calibrate_and_gather(then, run, study, words, known=known, shown=shown),
            lambda report: _write_report(path, report),
        )
    )


def _study_of_run(workspace: Workspace, run: Run) -> Study | None:
    """Return the present model and images, if the run has the same model and images."""
    study = workspace.job_study
    if study is None or study.network.digest != run.model_digest:
        return None
    same = study.scored is not None and study.scored.digest == run.data_digest
    return study if same else Study(study.network, store=study.store)


def _sensitivity_to_report(workspace: Workspace, study: Study | None) -> Sensitivity | None:
    if workspace.opened is not None:
        return workspace.opened.session.sensitivity
    return None if study is None else deepest_sensitivity(workspace)


def front_with_run(workspace: Workspace, run: Run, front: Front | None = None) -> TradeOff | None:
    """Return `front` with the run; without `front`, the last fitting front of Trade-offs."""
    search = None
    if front is None:
        for found in reversed(list(workspace.tradeoffs.found.values())):
            if found.network.digest == run.model_digest and run.cost.machine in found.fronts:
                front = found.fronts[run.cost.machine]
                search = found.searches[run.cost.machine]
                break
    if front is None or search is None:
        return None if front is None else trade_off_from_front(front, run)
    foresight = present_foresight(workspace)
    if foresight is None:
        return trade_off_from_front(front, run)
    measured = [move_to_machine(search, one) for one in foresight.measured]
    search.predictor = foresight.predictor
    return trade_off_from_front(front_with_trials(search, front), run, measured)


def _calibrate_and_gather(
    workspace: Workspace,
    run: Run,
    study: Study | None,
    words: tuple[str, str],
    *,
    known: Sensitivity | None,
    shown: TradeOff | None,
) -> Steps[Report]:
    if study is not None:
        yield from part_of_progress(study.collect_statistics(), 0.0, CALIBRATION_SHARE)
    has_images = study is not None and study.scored is not None
    diagnosis = workspace.diagnosis.found
    around = Around(
        study=study,
        machine=workspace.machine,
        store=workspace.store,
        sensitivity=known,
        steps=workspace.repaired.steps if workspace.repaired is not None else (),
        front=shown,
        origin=_report_origin(workspace, run) if has_images else None,
        notes=workspace.parts.notes if has_images and workspace.parts is not None else (),
        author=words[0],
        note=words[1],
        flow=None if diagnosis is None else flow_page_of(diagnosis, run),
    )
    return (yield from part_of_progress(gather_run_report(run, around), CALIBRATION_SHARE, 1.0))


def _report_origin(workspace: Workspace, run: Run) -> ReportOrigin:
    model, data = workspace.model, workspace.data
    return ReportOrigin(
        model=model.shown or model.source,
        machine=run.cost.machine,
        builder=model.builder,
        input_shape=model.input_shape,
        inputs=model.inputs,
        data=None if data.source is None or is_bundled_data(data.source) else str(data.source),
        preprocess=data.preprocess,
        samples=data.samples or None,
        calibration=data.calibration,
        seed=data.seed,
    )


def _write_report(path: Path, report: Report) -> None:
    path.write_text(render_report(report), encoding="utf-8")
