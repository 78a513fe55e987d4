"""The artefacts on the page: their purpose, their checks, and the next command."""

import streamlit as st

from analysis.runs.apply_recipe import title_of_pass
from analysis.runs.experiment_file import write_experiment_json
from analysis.runs.run_store import Run
from figures.style.units import format_bytes
from model_io.artefacts.formats import FORMATS
from ui.export.jobs import ExportRequest, finished_artefacts, is_exporting, start_export
from ui.navigation import RUNS
from ui.runs.report import report_box
from ui.state.results import Made
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain


def export_context(workspace: Workspace, wish: ExportRequest) -> None:
    """Name the experiment, the model, the ranges and the machine of the export."""
    given = wish.experiment.encodings
    images, noun = len(wish.study.calibration or ()), wish.network.noun
    ranges = f"ranges from {images} {noun}s" if images else f"ranges without {noun}s"
    if given is not None and wish.experiment.uses_encodings:
        ranges = f"ranges of {plain(given.source)}"
    st.markdown(
        f"**{plain(wish.name)}** on **{plain(wish.network.name)}** · {ranges} · "
        f"machine {plain(workspace.machine.title)}"
    )
    st.download_button(
        "Experiment as JSON",
        write_experiment_json(wish.experiment),
        f"{wish.file_stem}.experiment.json",
        "application/json",
        icon=":material/science:",
        key="export.experiment",
        help="Configuration, repairs, encodings and machine: cli.py evaluate --experiment takes it",
    )
    if wish.experiment.recipe:
        st.caption("Every file below has the repairs, but Configuration, which is bits alone.")


def artefact_list(workspace: Workspace, wish: ExportRequest) -> None:
    """List the artefacts with size, checks, the next command, and the button to make."""
    made, busy = finished_artefacts(workspace, wish), is_exporting(workspace)
    missing = [name for name in FORMATS if name not in made]
    label = "Make all" if len(missing) == len(FORMATS) else f"Make the other {len(missing)}"
    if missing and st.button(
        label,
        type="primary",
        icon=":material/inventory_2:",
        key="export.all",
        disabled=busy,
        help="Calibrates and repairs once for all; progress and Cancel are in the side bar",
    ):
        _start_and_rerun(workspace, wish, missing)
    for name in FORMATS:
        with st.container(border=True):
            _artefact_row(workspace, wish, name, made.get(name), busy=busy)


def _start_and_rerun(workspace: Workspace, wish: ExportRequest, names: list[str]) -> None:
    start_export(workspace, wish, names)
    st.rerun()


def _artefact_row(
    workspace: Workspace, wish: ExportRequest, name: str, made: Made | None, *, busy: bool
) -> None:
    form = FORMATS[name]
    row = st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    )
    told, button = row.container(width="stretch"), row.container(width=140)
    there = made is not None and made.path is not None
    size = f" · {format_bytes(made.size_bytes)}" if made is not None and there else ""
    told.markdown(f"**{form.title}**{size}  \n:gray[{form.purpose}]")
    if made is not None and made.path is not None:
        button.download_button(
            "Download",
            data=made.path.read_bytes,
            file_name=made.path.name,
            mime="application/octet-stream",
            key=f"export.get.{name}",
            width="stretch",
            icon=":material/download:",
            on_click="ignore",
        )
        _artefact_details(made)
        return
    if button.button(
        "Make",
        key=f"export.make.{name}",
        disabled=busy,
        width="stretch",
        icon=":material/build:",
    ):
        _start_and_rerun(workspace, wish, [name])
    if made is not None:
        st.error(plain(made.problem), icon=":material/error:")


def _artefact_details(made: Made) -> None:
    if made.alarm:
        st.error(plain(made.alarm), icon=":material/dangerous:")
    color, mark = ("red", "close") if made.alarm else ("green", "check")
    lines = [f":{color}[:material/{mark}:] {plain(check)}" for check in made.checks]
    lines += [f":orange[:material/info:] {plain(note)}" for note in made.notes]
    st.markdown("  \n".join(lines))
    if len(made.files) > 1:
        st.caption(f"In the zip: {', '.join(map(plain, made.files))}. Then, in its folder:")
    st.code(made.command, language="bash", wrap_lines=True)


def report_choice(workspace: Workspace, wish: ExportRequest) -> None:
    """Offer the report of a run of the model; start with a run of the exported experiment."""
    runs = [run for run in workspace.store.all_runs() if run.model_digest == wish.network.digest]
    if not runs:
        st.caption("A report tells of a run, and none of this model was kept yet.")
        st.page_link(RUNS, label="Run it and measure", icon=":material/play_circle:")
        return
    fitting = [run for run in runs if _matches_request(run, wish)]
    start = runs.index(fitting[0]) if fitting else 0
    run = st.selectbox(
        "Run",
        runs,
        index=start,
        key=f"export.run.{wish.key}",
        format_func=_run_name,
        help="The newest of the present configuration to begin with",
    )
    report_box(workspace, run)


def _matches_request(run: Run, wish: ExportRequest) -> bool:
    """Whether a run measured the exported configuration and recipe."""
    titles = tuple(title_of_pass(step) for step in wish.experiment.all_passes)
    return run.config == wish.config.to_dict() and run.recipe == titles


def _run_name(run: Run) -> str:
    return f"{run.name}, {run.created[:16].replace('T', ' ')}"
