"""Answers of the page Sensitivity: computed at once, kept by the store, or computed by a job."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from analysis.mixed_precision.forecast import config_without_bits
from analysis.mixed_precision.recipe_noise import repaired_study
from analysis.runs.apply_recipe import title_of_pass
from analysis.runs.json_values import plain_from_result, result_from_plain
from analysis.sensitivity.analyze import analyze_sensitivity, kept_sensitivity
from analysis.sensitivity.exact.dask_executor import open_dask_cluster
from analysis.sensitivity.exact.executors import Pool, Workers
from analysis.sensitivity.questions import questions_of_sweep
from analysis.sensitivity.ranking import layers_by_cost, merge_deepest_answers
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep, View
from analysis.sensitivity.tensor_noise import tensor_noise_sensitivity
from analysis.study import Study
from data_io.dataset import Dataset
from quant.passes.recipe import Pass, Recipe
from quant.progress import Progress, Steps, part_of_progress, stage_of_progress
from ui.answers.range_book import float_passes, study_after_repairs
from ui.job_kind import JobKind
from ui.jobs import Job
from ui.request_guard import paths_open
from ui.state.sensitivity import SweepRequest
from ui.state.workspace import Workspace

SCREENED_IMAGES = 64
CALIBRATION_SHARE, SCREENING_SHARE = 0.05, 0.1


def request_images(workspace: Workspace, asked: SweepRequest) -> Dataset | None:
    """Return the images of a request, the first of the images to score; None without images."""
    parts = workspace.parts
    if parts is None:
        return None
    few = asked.depth is Depth.SCREENING
    return parts.score.first(min(asked.images, SCREENED_IMAGES) if few else asked.images)


def judged_study(workspace: Workspace) -> tuple[Study | None, Recipe]:
    """Return the study whose layers are judged, and the repairs that it is after.

    It is the present model after the experiment's repairs of the float network. Repairs that learn
    from images are left out, with all repairs, until a job has run them.
    """
    study = workspace.study
    return (None, ()) if study is None else study_after_repairs(study, float_passes(workspace))


def explain_judged_network(workspace: Workspace) -> str:
    """Return a sentence on the repairs behind the scores; empty for an experiment without any."""
    _, passes = judged_study(workspace)
    left = [step for step in workspace.experiment.recipe if step not in passes]
    words = [f"after {_pass_names(passes)}"] if passes else []
    words += [f"before {_pass_names(left)}"] if left else []
    if not words:
        return ""
    reason = ": a run has all repairs, so its numbers differ" if left else ", as in a run"
    return f"Layers are judged {' and '.join(words)}{reason}"


def _pass_names(passes: Sequence[Pass]) -> str:
    return " and ".join(title_of_pass(step).lower() for step in passes)


def requested_questions(workspace: Workspace, asked: SweepRequest) -> tuple[Question, ...]:
    """Return the cells of the request, layer by layer in the order of the network."""
    study, _ = judged_study(workspace)
    if study is None:
        return ()
    sweep = asked.build_sweep(workspace.config)
    return questions_of_sweep(study.network, sweep, study.site_encodings(sweep.config))


def instant_answers(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return the noise of tensors measured so far; the noise needs no forward."""
    sweep, (_, passes) = asked.build_sweep(workspace.config), judged_study(workspace)
    return workspace.sensitivity.instant.get(answer_key(workspace, sweep, passes))


def prepare_tensor_noise(workspace: Workspace, asked: SweepRequest) -> bool:
    """Queue the calibration and the measurement of the noise of tensors, if missing.

    Returns whether a job was queued. The job of an earlier question is cancelled.
    """
    network, sweep = workspace.network, asked.build_sweep(workspace.config)
    question = f"noise {answer_key(workspace, sweep, judged_study(workspace)[1])}"
    ready = _has_statistics(workspace) and _has_deeper_answers(workspace, asked)
    if network is None or question in workspace.asked or ready:
        return False
    stop_noise_job(workspace)
    workspace.asked.add(question)  # one that fails is not put again and again
    workspace.sensitivity.preparing = question
    title, then = f"{JobKind.TENSOR_NOISE} {network.name}", workspace.copy_for_job()
    steps = lambda: _measure_tensor_noise(then, asked, sweep)  # noqa: E731
    workspace.runner.submit(
        Job(JobKind.TENSOR_NOISE, title, steps, lambda _: None, background=True)
    )
    return True


def stop_noise_job(workspace: Workspace) -> None:
    """Cancel the measurement of the noise of tensors, which is asked for again where needed."""
    for job in workspace.runner.active_jobs:
        if job.kind is JobKind.TENSOR_NOISE:
            job.shown = True
            job.cancel()
            workspace.asked.discard(workspace.sensitivity.preparing)


def is_measuring_noise(workspace: Workspace) -> bool:
    """Whether the noise of tensors is being measured."""
    return workspace.runner.active_of(JobKind.TENSOR_NOISE) is not None


def _has_deeper_answers(workspace: Workspace, asked: SweepRequest) -> bool:
    """Whether the request asks for more than the noise of tensors, and an answer is known."""
    if asked.depth is Depth.INSTANT:
        return False
    exact = exact_answers(workspace, asked) if asked.depth is Depth.EXACT else None
    return bool(exact and exact.scores) or screened_for_request(workspace, asked) is not None


def _has_statistics(workspace: Workspace) -> bool:
    """Whether the statistics are known, or never will be."""
    study, _ = judged_study(workspace)
    return study is None or study.calibration is None or study.is_calibrated


def _measure_tensor_noise(workspace: Workspace, asked: SweepRequest, sweep: Sweep) -> Steps[None]:
    """Calibrate, then measure the noise layer by layer; the page shows the layers as they come."""
    passes = float_passes(workspace)
    key = answer_key(workspace, sweep, passes)
    if workspace.study is None:
        return
    steps = repaired_study(workspace.study, passes)
    study = yield from part_of_progress(steps, 0.0, 0.3)
    if _has_deeper_answers(workspace, asked):
        # only the statistics were missing, to find again what the store has
        workspace.asked.discard(f"noise {key}")
        return
    encodings = study.site_encodings(sweep.config)
    layers = list(
        dict.fromkeys(q.layer for q in questions_of_sweep(study.network, sweep, encodings))
    )
    scores: list[CellScore] = []
    for place, layer in enumerate(layers):
        yield Progress(0.3 + 0.7 * place / len(layers), f"Noise of {layer}")
        found = tensor_noise_sensitivity(study, replace(sweep, layers=(layer,)))
        scores += found.scores
        workspace.sensitivity.instant[key] = replace(found, sweep=sweep, scores=tuple(scores))


def answer_key(workspace: Workspace, sweep: Sweep, passes: Recipe = ()) -> str:
    """Return a digest of the model after float passes, the images, and the sweep without bits."""
    network, parts = workspace.network, workspace.parts
    digest = network.digest if network else ""
    calibration = parts.calibration.digest if parts and parts.calibration else ""
    config = config_without_bits(network, sweep.config) if network else sweep.config
    what = (config.to_json(), sweep.bits, sweep.sides, sweep.view)
    repaired = f" {passes!r}" if passes else ""
    text = f"{digest} {calibration} {what!r}{repaired}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def screened_answers(
    workspace: Workspace, sweep: Sweep, images: int, passes: Recipe = ()
) -> Sensitivity | None:
    """Return the screened sensitivities of a sweep, from memory or from the run store.

    They are those of the network after the float passes `passes`.
    """
    key = screening_key(workspace, sweep, images, passes)
    memory = workspace.sensitivity.screened
    if key and key not in memory:
        raw = workspace.store.find_answer(key)
        if raw is None:
            return None
        try:
            memory[key] = result_from_plain(Sensitivity, raw)
        except (ValueError, TypeError):
            return None  # written by another version
    return memory.get(key)


def screened_for_request(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return the screened sensitivities of a request under the present experiment."""
    sweep, (_, passes) = asked.build_sweep(workspace.config), judged_study(workspace)
    return screened_answers(workspace, sweep, asked.images, passes)


def screening_key(workspace: Workspace, sweep: Sweep, images: int, passes: Recipe = ()) -> str:
    """Return the key of screened sensitivities in the store; empty without images."""
    parts = workspace.parts
    if parts is None:
        return ""
    data = parts.score.first(min(images, SCREENED_IMAGES)).digest
    return f"screened {data} {answer_key(workspace, sweep, passes)}"


def exact_answers(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return the exact scores in the store; the function runs no network."""
    (study, _), data = judged_study(workspace), request_images(workspace, asked)
    if study is None or data is None:
        return None
    return kept_sensitivity(study.with_scored_images(data), asked.build_sweep(workspace.config))


def deepest_answers(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return the deepest known scores, up to the requested depth.

    Screened scores fill the cells without an exact score.
    """
    if asked.depth is Depth.INSTANT:
        return instant_answers(workspace, asked)
    quick = screened_for_request(workspace, asked)
    exact = exact_answers(workspace, asked) if asked.depth is Depth.EXACT else None
    if exact is None or not exact.scores:
        return quick or instant_answers(workspace, asked)
    layers = [question.layer for question in requested_questions(workspace, asked)]
    return merge_deepest_answers(exact, quick, list(dict.fromkeys(layers)))


def active_sweep_job(workspace: Workspace) -> Job | None:
    """Return the waiting or running job of screening or sweep; None without a job."""
    return workspace.runner.active_of(JobKind.SENSITIVITY)


def stop_sweep(workspace: Workspace, *, pause: bool) -> None:
    """Stop the sweep and keep the scores; a paused sweep offers to go on."""
    job = active_sweep_job(workspace)
    if job is not None:
        job.shown = True  # the page says so itself
        job.cancel()
    workspace.sensitivity.paused = pause


def start_sweep(workspace: Workspace, asked: SweepRequest) -> None:
    """Queue the screening or the exact sweep; the sweep continues after the last stored score."""
    study = workspace.job_study
    if study is None or study.scored is None:
        return
    digest, name = study.network.digest, study.network.name
    workspace.sensitivity.paused = False
    stop_noise_job(workspace)  # what nobody asked for yields to what a person starts
    remember_request(workspace, asked)
    sweep = asked.build_sweep(workspace.config)
    depth = "screening" if asked.depth is Depth.SCREENING else "exact sweep"
    then = workspace.copy_for_job()  # other images may be chosen while it waits or runs

    def mark_finished(_: Sensitivity) -> None:
        workspace.sensitivity.finished = (digest, asked)

    workspace.runner.submit(
        Job(
            JobKind.SENSITIVITY,
            f"{JobKind.SENSITIVITY} {name}, {depth}",
            lambda: _screen_and_sweep(then, study, asked, sweep),
            mark_finished,
        )
    )


def _screen_and_sweep(
    workspace: Workspace, study: Study, asked: SweepRequest, sweep: Sweep
) -> Steps[Sensitivity]:
    """Repair and calibrate, screen for the order of the layers, then sweep."""
    data, passes = study.scored_images.first(asked.images), float_passes(workspace)
    key = screening_key(workspace, sweep, asked.images, passes)
    alone = asked.depth is Depth.SCREENING
    repairs = repaired_study(study, passes)
    study = yield from stage_of_progress(repairs, 0.0, CALIBRATION_SHARE)
    quick = screened_answers(workspace, sweep, asked.images, passes)
    if quick is None:
        steps = screen_layers(study.with_scored_images(data.first(SCREENED_IMAGES)), sweep)
        quick = yield from stage_of_progress(
            steps, CALIBRATION_SHARE, 1.0 if alone else SCREENING_SHARE
        )
        workspace.sensitivity.screened[key] = quick
        workspace.store.keep_answer(key, plain_from_result(quick))
    if alone:
        return quick
    workers: Workers = open_dask_cluster(asked.scheduler) if asked.scheduler else Pool()
    work = analyze_sensitivity(
        study.with_scored_images(data), sweep, Depth.EXACT, workers, layers_by_cost(quick)
    )
    return (yield from stage_of_progress(work, SCREENING_SHARE, 1.0))


def remember_request(workspace: Workspace, asked: SweepRequest) -> None:
    """Keep the request for a reload; on the user's own machine, for a restart too."""
    workspace.sensitivity.asked[_request_key(workspace)] = asked
    if paths_open(workspace.settings):
        workspace.store.keep_answer(_request_key(workspace), plain_from_result(asked))


def last_request(workspace: Workspace) -> SweepRequest:
    """Return the last request for the present model, or the default request."""
    key = _request_key(workspace)
    if key in workspace.sensitivity.asked or not paths_open(workspace.settings):
        return workspace.sensitivity.asked.get(key, SweepRequest())
    raw = workspace.store.find_answer(key)
    try:
        return result_from_plain(SweepRequest, raw) if raw else SweepRequest()
    except (ValueError, TypeError):
        return SweepRequest()  # written by another version


def _request_key(workspace: Workspace) -> str:
    network = workspace.network
    return f"sensitivity asked {network.digest if network else ''}"


def other_view_answers(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return the stored exact scores of the view opposite to the requested view, or None."""
    view = View.ALL_BUT if asked.view is View.ONLY else View.ONLY
    found = exact_answers(workspace, replace(asked, view=view, depth=Depth.EXACT))
    return found if found is not None and found.scores else None
