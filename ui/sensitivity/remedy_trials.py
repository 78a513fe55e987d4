"""Repairs of a layer, tried beside the page, and their results."""

from analysis.diagnosis.remedies import Remedy
from analysis.diagnosis.try_remedy import RemedyTrial, try_layer_remedy
from analysis.sensitivity.sweep import Question
from analysis.study import Study
from quant.config import QuantConfig
from quant.progress import Steps, part_of_progress
from ui.answers.range_book import float_passes, study_after_repairs
from ui.answers.sensitivity import request_images
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.sensitivity import SweepRequest
from ui.state.workspace import Workspace


def trials_of_question(workspace: Workspace, question: Question) -> list[RemedyTrial]:
    """Return the trials of repairs on a layer under the present configuration."""
    return workspace.sensitivity.trials.get(_trial_key(workspace, question), [])


def _trial_key(workspace: Workspace, question: Question) -> tuple[str, Question]:
    digest = workspace.network.digest if workspace.network else ""
    return f"{digest} {workspace.config.to_json()} {float_passes(workspace)!r}", question


def is_trying_remedy(workspace: Workspace) -> bool:
    """Whether a repair waits or runs."""
    return workspace.runner.active_of(JobKind.TRY_REMEDY) is not None


def start_remedy_trial(
    workspace: Workspace, asked: SweepRequest, question: Question, remedy: Remedy
) -> None:
    """Queue the trial of a repair; the workspace keeps the result."""
    study, data = workspace.job_study, request_images(workspace, asked)
    if study is None or data is None:
        return
    repaired, _ = study_after_repairs(study, float_passes(workspace))
    asked_study = repaired.with_scored_images(data)
    config, key = workspace.config, _trial_key(workspace, question)

    def keep_trial(trial: RemedyTrial) -> None:
        others = [t for t in workspace.sensitivity.trials.get(key, []) if t.title != trial.title]
        workspace.sensitivity.trials[key] = [*others, trial]

    workspace.runner.submit(
        Job(
            JobKind.TRY_REMEDY,
            f"{JobKind.TRY_REMEDY} {remedy.title} on {question.layer}",
            lambda: _calibrate_and_try(asked_study, config, question, remedy),
            keep_trial,
        )
    )


def _calibrate_and_try(
    study: Study, config: QuantConfig, question: Question, remedy: Remedy
) -> Steps[RemedyTrial]:
    """Calibrate if necessary, then try the repair; passes learn from the calibration images."""
    yield from part_of_progress(study.collect_statistics(), 0.0, 0.1)
    return (
        yield from part_of_progress(try_layer_remedy(study, config, question, remedy), 0.1, 1.0)
    )
