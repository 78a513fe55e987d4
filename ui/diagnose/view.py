"""Asking for a diagnosis, drawing the flow as the flow runs, and the conclusion."""

from collections.abc import Sequence
from itertools import groupby

import streamlit as st

from analysis.diagnosis.flow.contents import (
    Diagnosis,
    FlowStep,
    NamedCause,
    StepOutcome,
    causes_by_side,
    count_causes,
)
from analysis.diagnosis.flow.goal import Goal
from analysis.diagnosis.flow.run_diagnosis import DiagnosisTask, run_diagnosis
from analysis.runs.experiment import Experiment
from figures.repair.loss_by_step import loss_by_step
from figures.style.units import format_energy
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.plain_text import plain
from ui.state.workspace import Workspace
from ui.widgets.figure import show_figure

LOOK_EVERY_S = 2.0
ICONS = {
    StepOutcome.PASSED: ":material/check_circle:",
    StepOutcome.UNDECIDED: ":material/help:",
    StepOutcome.FAILED: ":material/cancel:",
    StepOutcome.TOLD: ":material/info:",
}
COLORS = {
    StepOutcome.PASSED: "green",
    StepOutcome.UNDECIDED: "orange",
    StepOutcome.FAILED: "red",
    StepOutcome.TOLD: "gray",
}


def is_under_way(workspace: Workspace) -> bool:
    """Whether a diagnosis waits or runs."""
    return workspace.runner.active_of(JobKind.DIAGNOSE) is not None


def start_diagnosis(workspace: Workspace, points: float) -> None:
    """Queue the diagnosis of the present experiment; steps that the store has are not repeated."""
    study = workspace.job_study
    if study is None or study.scored is None:
        return
    task = DiagnosisTask(study, workspace.experiment, Goal(points), workspace.own_store)
    work = workspace.diagnosis

    def keep_result(found: Diagnosis) -> None:
        work.found = found

    work.task, work.found = task, None
    title = f"{JobKind.DIAGNOSE} {workspace.experiment.display_name}"
    workspace.runner.submit(Job(JobKind.DIAGNOSE, title, lambda: run_diagnosis(task), keep_result))


def is_of_present(workspace: Workspace, task: DiagnosisTask) -> bool:
    """Whether a diagnosis is of the present model, images and experiment."""
    study = workspace.job_study
    same = (
        study is not None
        and study.shares_results_with(task.study)
        and study.scored is task.study.scored
    )
    return same and workspace.experiment in (task.experiment, _chosen_experiment(workspace))


def _chosen_experiment(workspace: Workspace) -> Experiment | None:
    found = workspace.diagnosis.found
    return None if found is None else found.experiment


@st.fragment(run_every=LOOK_EVERY_S)
def live_flow(workspace: Workspace) -> None:
    """Draw the steps so far, again after a few seconds, until the job has ended."""
    task = workspace.diagnosis.task
    if task is not None:
        show_flow(tuple(task.board), task.study.network.noun)
    if not is_under_way(workspace):
        st.rerun()


def show_flow(steps: Sequence[FlowStep], noun: str) -> None:
    """Draw a box for each step under the heading of the stage."""
    if not steps:
        st.caption("The first step is under way.")
    for stage, group in groupby(steps, key=lambda step: step.stage):
        st.markdown(f"**{stage.value}**")
        for step in group:
            _show_step(step, noun)


def _show_step(step: FlowStep, noun: str) -> None:
    with st.container(border=True):
        left, right = st.columns([4, 1])
        left.markdown(f"{ICONS[step.outcome]} **{plain(step.name)}**")
        right.markdown(f":{COLORS[step.outcome]}-badge[{step.outcome.value}]")
        left.markdown(plain(step.sentence))
        facts = [f"{step.seconds:.1f} s"]
        if step.resumed:
            facts[0] += ", found among the runs"
        if step.energy_pj is not None:
            facts.append(f"{format_energy(step.energy_pj)} per {noun}")
        if step.adopted is not None:
            facts.append("stays" if step.adopted else "is not used")
        left.caption(" · ".join(facts))


def show_conclusion(workspace: Workspace, found: Diagnosis) -> None:
    """Say how the diagnosis ended, and offer the experiment that was chosen."""
    if found.met:
        st.success(plain(found.sentence), icon=":material/check_circle:")
    else:
        st.warning(plain(found.sentence), icon=":material/report:")
    if found.advice:
        st.markdown(plain(found.advice))
    if found.run is None:
        return
    used = workspace.experiment == found.experiment
    st.button(
        "In use" if used else "Use this experiment",
        key="diagnose.use",
        type="primary",
        icon=":material/check:",
        disabled=used,
        on_click=workspace.change,
        args=(found.experiment,),
        help="Configuration and repairs become the present experiment: runs, exports and reports "
        "have them too. Undo takes them back.",
    )


def show_losses(found: Diagnosis) -> None:
    """Draw the loss of each step, and the causes by layer."""
    if any(step.loss is not None for step in found.steps):
        figure = loss_by_step(found.steps, found.goal.points)
        show_figure(figure, "diagnose.losses")
    if found.causes:
        st.subheader("Causes, the most harmful first", anchor=False)
    for side, causes in causes_by_side(found.causes).items():
        st.markdown(f"**{plain(str(side).capitalize())}**: {plain(count_causes(causes))}")
        _show_causes(causes)


def _show_causes(causes: Sequence[NamedCause]) -> None:
    """Show the causes of a side; what helps stands beside the cause, the evidence behind."""
    rows = [
        {
            "layer": one.layer,
            "cause": one.cause,
            "points lost alone": one.points,
            "remedy": one.remedy,
            "95 %": ""
            if one.interval is None
            else f"{one.interval.low:.1f} to {one.interval.high:.1f}",
            "evidence": one.evidence,
        }
        for one in causes
    ]
    st.dataframe(
        rows,
        hide_index=True,
        width="stretch",
        column_config={
            "layer": st.column_config.TextColumn(width=120),
            "cause": st.column_config.TextColumn(width=140),
            "points lost alone": st.column_config.NumberColumn("points lost", format="%.2f"),
            "remedy": st.column_config.TextColumn(width=140),
        },
        placeholder="",
    )
