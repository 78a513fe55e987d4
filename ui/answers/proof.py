"""The most harmful layers, proven, for the page Sensitivity."""

from analysis.mixed_precision.recipe_noise import repaired_study
from analysis.sensitivity.exact.dask_executor import open_dask_cluster
from analysis.sensitivity.exact.executors import Pool, Workers
from analysis.sensitivity.exact.most_harmful import MostHarmful, find_most_harmful
from analysis.sensitivity.sweep import Sweep
from analysis.study import Study
from quant.passes.recipe import Recipe
from quant.progress import Steps, part_of_progress
from ui.answers.range_book import float_passes
from ui.answers.sensitivity import (
    CALIBRATION_SHARE,
    answer_key,
    remember_request,
    request_images,
    stop_noise_job,
)
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.state.sensitivity import SweepRequest
from ui.state.workspace import Workspace


def proven_layers(workspace: Workspace, asked: SweepRequest) -> tuple[MostHarmful, ...]:
    """Return the most harmful layers of each side, if the request seeks them and they are known."""
    if not asked.seeks_most_harmful:
        return ()
    return workspace.sensitivity.proven.get(_proof_key(workspace, asked), ())


def start_proof(workspace: Workspace, asked: SweepRequest) -> None:
    """Queue the search for the most harmful layers; the search uses all stored scores."""
    study = workspace.job_study
    if study is None or study.scored is None:
        return
    stop_noise_job(workspace)
    remember_request(workspace, asked)
    workspace.sensitivity.paused = False
    key, proven = _proof_key(workspace, asked), workspace.sensitivity.proven
    sweep, passes = asked.build_sweep(workspace.config), float_passes(workspace)
    workspace.runner.submit(
        Job(
            JobKind.SENSITIVITY,
            f"{JobKind.SENSITIVITY} {study.network.name}, most harmful layers",
            lambda: _repair_and_prove(study, asked, sweep, passes),
            lambda found: proven.update({key: found}),
        )
    )


def _repair_and_prove(
    study: Study, asked: SweepRequest, sweep: Sweep, passes: Recipe
) -> Steps[tuple[MostHarmful, ...]]:
    repaired = yield from part_of_progress(repaired_study(study, passes), 0.0, CALIBRATION_SHARE)
    some = repaired.with_scored_images(study.scored_images.first(asked.images))
    workers: Workers = open_dask_cluster(asked.scheduler) if asked.scheduler else Pool()
    work = find_most_harmful(some, sweep, asked.most_harmful, workers)
    return (yield from part_of_progress(work, CALIBRATION_SHARE, 1.0))


def _proof_key(workspace: Workspace, asked: SweepRequest) -> str:
    data = request_images(workspace, asked)
    images = data.digest if data is not None else ""
    sweep, passes = asked.build_sweep(workspace.config), float_passes(workspace)
    return f"{asked.most_harmful} {images} {answer_key(workspace, sweep, passes)}"
