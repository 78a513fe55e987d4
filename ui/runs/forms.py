"""Starting a run, and the actions on a run on the page Run and compare."""

import json
from dataclasses import replace

import streamlit as st

from analysis.evaluation.evaluate import Disagreement
from analysis.evaluation.tasks.kinds import TaskKind
from analysis.runs.apply_recipe import title_of_pass
from analysis.runs.experiment_file import record_of_run
from analysis.runs.json_values import plain_from_result
from analysis.runs.run_answers import ClassAnswer, answers_of_run
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import Run
from figures.quality.class_change import class_name
from quant.config import QuantConfig
from quant.progress import Steps
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.runs.annotations import annotation_box
from ui.runs.changed_images import answer_text, class_names_of
from ui.runs.task_pictures import show_task_pictures
from ui.state.edit_config import change_experiment
from ui.state.snapshot import experiment_with_encodings
from ui.state.workspace import Workspace
from ui.widgets.code_question import run_if_allowed, show_code_question
from ui.widgets.job_text import UNDER_WAY
from ui.widgets.markdown import plain
from ui.widgets.metric_field import load_named_metric, metric_field, metric_problem

PICTURED = (TaskKind.DETECTION, TaskKind.SEGMENTATION)
METRIC_QUESTION = "runs.code"


def start_run(workspace: Workspace, name: str) -> None:
    """Queue a run of the present experiment; the result goes to the run store."""
    study = workspace.job_study
    if study is None or study.scored is None:
        return
    experiment = workspace.experiment.with_name(name or workspace.experiment.display_name)
    seeded = replace(experiment, seed=workspace.data.seed)
    metric, store = load_named_metric(workspace, workspace.metric), workspace.store

    def run_steps() -> Steps[None]:
        # kept at once, whether anybody looks or not
        steps = measure_experiment(study, seeded, metric, with_steps=True, with_sides=True)
        store.save_run((yield from steps))

    title = f"{JobKind.RUN} {seeded.display_name}"
    workspace.runner.submit(Job(JobKind.RUN, title, run_steps, lambda _: None))


def load_run_experiment(workspace: Workspace, run: Run) -> None:
    """Make the experiment of a run the present experiment, with repairs, machine and name."""
    network = workspace.network
    if network is not None and run.model_digest != network.digest:
        workspace.notes.append(
            f"{run.name} is a run of {run.model}; the model loaded is {network.name}. Load "
            f"{run.model} on Model first."
        )
        return
    try:
        record = record_of_run(run, workspace.trainings)
        experiment = record.experiment
        if network is not None:
            experiment = experiment_with_encodings(record, network)
    except ValueError as error:
        workspace.notes.append(str(error))
        return
    change_experiment(workspace, experiment)


def is_present_experiment(workspace: Workspace, run: Run) -> bool:
    """Whether the present experiment has the run's configuration and repairs."""
    now = workspace.experiment
    return (
        now.config.to_dict() == run.config
        and tuple(title_of_pass(step) for step in now.all_passes) == run.recipe
    )


def missing_runs_reason(workspace: Workspace) -> str:
    """Say why there are no runs, and how to get a run."""
    if workspace.runner.active_jobs:
        return f"{UNDER_WAY} Results appear here."
    if workspace.parts is None:
        return "No runs yet."
    return "No runs yet. Press Run: results appear here, of small networks within seconds."


def run_form(workspace: Workspace, config: QuantConfig) -> None:
    """Show the name and the button of a new run; the button is disabled without model or images."""
    ready = workspace.network is not None and workspace.parts is not None
    with st.form("runs.start", border=False):
        name_column, button_column = st.columns([4, 1], vertical_alignment="bottom")
        name = name_column.text_input(
            "Name of the run",
            value=workspace.experiment.display_name,
            key=f"runs.name.{workspace.experiments.version}.{workspace.experiment.display_name}",
        )
        pressed = button_column.form_submit_button(
            "Run",
            type="primary",
            icon=":material/play_arrow:",
            disabled=not ready,
            width="stretch",
        )
        asked = metric_field(workspace)
    if pressed and workspace.network is not None:
        config.resolve_layers(workspace.network.graph.layers)
        run_if_allowed(
            workspace, METRIC_QUESTION, asked, lambda: _begin_run(workspace, name, asked)
        )
    show_code_question(workspace, METRIC_QUESTION)


def _begin_run(workspace: Workspace, name: str, asked: str) -> None:
    """Start the run with the named metric, or show the problem of the metric."""
    if problem := metric_problem(workspace, asked):
        st.error(plain(problem))  # nothing has run, and what was typed stays
        return
    if asked != workspace.metric:
        workspace.metric = asked
        workspace.save_choices()
    start_run(workspace, name)
    st.rerun()


def manage_run(workspace: Workspace, run: Run) -> None:
    """Let the user rename, delete, load or download a run; a looked-at session allows no change."""
    locked = workspace.opened is not None
    row = st.container(horizontal=True, vertical_alignment="bottom")
    name = row.text_input("Name", run.name, key=f"runs.rename.{run.id}")
    if row.button("Rename", key="runs.rename", disabled=locked):
        try:
            workspace.store.rename_run(run.id, name)
        except ValueError as error:
            st.error(plain(str(error)))
            return
        st.rerun()
    if row.button(
        "Use this configuration",
        key="runs.load",
        disabled=locked,
        help="Its configuration, repairs and machine become the present experiment",
    ):
        load_run_experiment(workspace, run)
        st.rerun()
    with row:
        annotation_box(workspace, run)
    row.download_button(
        "JSON",
        json.dumps(plain_from_result(run), indent=2),
        f"{run.name}.json",
        "application/json",
        key="runs.json",
        icon=":material/download:",
    )
    if row.button("Delete", key="runs.delete", disabled=locked):
        workspace.store.delete_run(run.id)
        st.rerun()


def show_disagreements(workspace: Workspace, run: Run) -> None:
    """Show the images with different answers of float and quantized network."""
    found = run.evaluation.disagreements
    if run.evaluation.metric is not None and run.evaluation.metric.task in PICTURED:
        show_task_pictures(workspace, [run])
        return
    if not run.evaluation.classes:
        st.info("The output is no row of classes, so there are no answers to compare.")
        return
    total = round((1 - run.evaluation.agreement) * run.evaluation.samples)
    if not found:
        st.info(f"Both networks answer the same on every {run.cost.noun}.")
        return
    st.caption(
        f"The networks differ on {total} {run.cost.noun}s; the first {len(found)} are listed."
    )
    names = class_names_of(workspace, run)
    known = {} if (told := answers_of_run(run)) is None else told.rows_by_index()

    def text(number: int, answer: ClassAnswer | None) -> str:
        return answer_text(number, None if answer is None else answer.confidence, names)

    rows = []
    for item in found:
        before, after = known.get(item.index, (None, None))
        rows.append(
            {
                run.cost.noun: item.index,
                "label": "" if item.label is None else class_name(item.label, names),
                "float": text(item.float_class, before),
                "quantized": text(item.quantized_class, after),
                "the change": _answer_verdict(item),
            }
        )
    alt = f"{run.cost.noun.capitalize()}s with different answers"
    st.dataframe(rows, hide_index=True, width="stretch", alt=alt)


def _answer_verdict(item: Disagreement) -> str:
    if item.label is None:
        return ""
    if item.label == item.float_class:
        return "now wrong"
    return "now right" if item.label == item.quantized_class else "wrong in both"
