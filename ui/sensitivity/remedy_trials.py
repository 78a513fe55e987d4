"""Repairs tried on a layer beside the page, and what they did."""

from analysis.diagnosis.remedies import Remedy
from analysis.diagnosis.try_remedy import RemedyTrial, try_remedy
from analysis.network import Network
from analysis.ranges.tensors import RangeBook
from analysis.sensitivity.sweep import Question
from analysis.split import Split
from data_io.dataset import Dataset
from quant.config import QuantConfig
from quant.progress import Steps, part
from ui.answers.sensitivity import images_for, statistics_for
from ui.jobs import Job
from ui.state.sensitivity import SweepRequest
from ui.state.workspace import Workspace

TRY = "Try"


def trials_of(workspace: Workspace, question: Question) -> list[RemedyTrial]:
    """Return what was tried on a layer under the present configuration."""
    return workspace.sensitivity.trials.get(_trial_key(workspace, question), [])


def _trial_key(workspace: Workspace, question: Question) -> tuple[str, Question]:
    digest = workspace.network.digest if workspace.network else ""
    return f"{digest} {workspace.config.present.to_json()}", question


def trying(workspace: Workspace) -> bool:
    """Whether a repair waits or runs."""
    return any(job.title.startswith(TRY) for job in workspace.runner.active)


def start_trial(
    workspace: Workspace, asked: SweepRequest, book: RangeBook, question: Question, remedy: Remedy
) -> None:
    """Queue the trial of a repair; what it did is kept in the workspace."""
    network, parts, data = workspace.network, workspace.parts, images_for(workspace, asked)
    if network is None or parts is None or data is None:
        return
    config, key = workspace.config.present, _trial_key(workspace, question)

    def keep(trial: RemedyTrial) -> None:
        others = [t for t in workspace.sensitivity.trials.get(key, []) if t.title != trial.title]
        workspace.sensitivity.trials[key] = [*others, trial]

    workspace.runner.submit(
        Job(
            f"{TRY} {remedy.title} on {question.layer}",
            lambda: _road(workspace, network, parts, data, book, config, question, remedy),
            keep,
        )
    )


def _road(
    workspace: Workspace,
    network: Network,
    parts: Split,
    data: Dataset,
    book: RangeBook,
    config: QuantConfig,
    question: Question,
    remedy: Remedy,
) -> Steps[RemedyTrial]:
    """Calibrate where that has not been done, then try; passes learn from the same images."""
    calibrated = yield from part(statistics_for(workspace, network, parts), 0.0, 0.1)
    images = parts.calibration
    work = try_remedy(network, data, images, calibrated, book, config, question, remedy)
    return (yield from part(work, 0.1, 1.0))
