"""Answers of the page Sensitivity: found at once, kept by the store, or worked out beside it."""

import hashlib
from dataclasses import replace
from functools import lru_cache

from analysis.calibration import Calibrated, calibrate
from analysis.mixed_precision.forecast import without_bits
from analysis.network import Network
from analysis.runs.json_values import from_plain, to_plain
from analysis.sensitivity.analyze import kept, sensitivity
from analysis.sensitivity.encodings import grids_of, questions_of
from analysis.sensitivity.exact.dask_executor import open_cluster
from analysis.sensitivity.exact.executors import Pool, Workers
from analysis.sensitivity.ranking import deepest, guiltiest
from analysis.sensitivity.screening.screen import screen
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep, View
from analysis.sensitivity.tensor_noise import instant
from analysis.split import Split
from data_io.dataset import Dataset
from quant.progress import Progress, Steps, part
from ui.jobs import Job
from ui.request_guard import paths_open
from ui.state.sensitivity import SweepRequest
from ui.state.workspace import Workspace

JOB = "Sensitivity"
PREPARING = "Noise of the tensors"
SCREENED_IMAGES = 64
CALIBRATION_SHARE, SCREENING_SHARE = 0.05, 0.1


def images_for(workspace: Workspace, asked: SweepRequest) -> Dataset | None:
    """Return the images that a question is put to: the first of those to score."""
    parts = workspace.parts
    if parts is None:
        return None
    few = asked.depth is Depth.SCREENING
    return parts.score.first(min(asked.images, SCREENED_IMAGES) if few else asked.images)


def known_statistics(workspace: Workspace) -> Calibrated:
    """Return what calibration found, or nothing but the input's range."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return _nothing_known(None)
    return workspace.calibrated(network, parts) or _nothing_known(parts.input_range)


@lru_cache(maxsize=8)
def _nothing_known(input_range: tuple[float, float] | None) -> Calibrated:
    return Calibrated(input_range=input_range)  # the same one each time: grids are kept by it


def questions(workspace: Workspace, asked: SweepRequest) -> tuple[Question, ...]:
    """Return all cells that are asked for, layer by layer in the order of the network."""
    network = workspace.network
    if network is None:
        return ()
    sweep = asked.sweep(workspace.config.present)
    calibrated = known_statistics(workspace)
    return questions_of(network, sweep, grids_of(network, calibrated, sweep.config))


def at_once(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return what is known by now of what can be said without any forward."""
    return workspace.sensitivity.instant.get(_key(workspace, asked.sweep(workspace.config.present)))


def prepare(workspace: Workspace, asked: SweepRequest) -> bool:
    """Queue what needs no click, calibration and the noise of every tensor, where it is missing.

    Returns whether it did. What was queued for an earlier question is called off.
    """
    network, sweep = workspace.network, asked.sweep(workspace.config.present)
    question = f"noise {_key(workspace, sweep)}"
    ready = _calibrated(workspace) and _deeper(workspace, asked)
    if network is None or question in workspace.asked or ready:
        return False
    for job in workspace.runner.active:
        if job.title.startswith(PREPARING):
            job.shown = True
            job.cancel()
            workspace.asked.discard(workspace.sensitivity.preparing)
    workspace.asked.add(question)  # one that fails is not put again and again
    workspace.sensitivity.preparing = question
    title, then = f"{PREPARING} of {network.name}", workspace.as_now()
    road = lambda: _prepare(then, network, asked, sweep)  # noqa: E731
    workspace.runner.submit(Job(title, road, lambda _: None))
    return True


def preparing(workspace: Workspace) -> bool:
    """Whether the noise of tensors is being measured."""
    return any(job.title.startswith(PREPARING) for job in workspace.runner.active)


def _deeper(workspace: Workspace, asked: SweepRequest) -> bool:
    """Whether more than the noise of tensors is asked for and known."""
    if asked.depth is Depth.INSTANT:
        return False
    exact = exact_now(workspace, asked) if asked.depth is Depth.EXACT else None
    return bool(exact and exact.scores) or screened_for(workspace, asked) is not None


def _calibrated(workspace: Workspace) -> bool:
    """Whether the statistics are known, or never will be."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None or parts.calibration is None:
        return True
    return workspace.calibrated(network, parts) is not None


def _prepare(
    workspace: Workspace, network: Network, asked: SweepRequest, sweep: Sweep
) -> Steps[None]:
    """Calibrate, then measure the noise layer by layer; what is known shows at once."""
    calibrated, parts, key = known_statistics(workspace), workspace.parts, _key(workspace, sweep)
    if parts is not None:
        calibrated = yield from part(statistics_for(workspace, network, parts), 0.0, 0.3)
    if _deeper(workspace, asked):
        # only the statistics were missing, to find again what the store has
        workspace.asked.discard(f"noise {key}")
        return
    grids = grids_of(network, calibrated, sweep.config)
    layers = list(dict.fromkeys(q.layer for q in questions_of(network, sweep, grids)))
    scores: list[CellScore] = []
    for place, layer in enumerate(layers):
        yield Progress(0.3 + 0.7 * place / len(layers), f"Noise of {layer}")
        found = instant(network, calibrated, replace(sweep, layers=(layer,)))
        scores += found.scores
        workspace.sensitivity.instant[key] = replace(found, sweep=sweep, scores=tuple(scores))


def _key(workspace: Workspace, sweep: Sweep) -> str:
    """Return what an answer depends on besides the images scored; bits of the sweep alone count."""
    network, parts = workspace.network, workspace.parts
    digest = network.digest if network else ""
    calibration = parts.calibration.digest if parts and parts.calibration else ""
    config = without_bits(network, sweep.config) if network else sweep.config
    what = (config.to_json(), sweep.bits, sweep.sides, sweep.view)
    return hashlib.sha256(f"{digest} {calibration} {what!r}".encode()).hexdigest()[:32]


def screened(workspace: Workspace, sweep: Sweep, images: int) -> Sensitivity | None:
    """Return what screening found for a sweep, now or before a restart."""
    key = screened_key(workspace, sweep, images)
    memory = workspace.sensitivity.screened
    if key and key not in memory:
        raw = workspace.store.answer(key)
        if raw is None:
            return None
        try:
            memory[key] = from_plain(Sensitivity, raw)
        except (ValueError, TypeError):
            return None  # written by another version
    return memory.get(key)


def screened_for(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return what screening found for a question under the present configuration."""
    return screened(workspace, asked.sweep(workspace.config.present), asked.images)


def screened_key(workspace: Workspace, sweep: Sweep, images: int) -> str:
    """Return what the answers of screening are kept under."""
    parts = workspace.parts
    if parts is None:
        return ""
    data = parts.score.first(min(images, SCREENED_IMAGES)).digest
    return f"screened {data} {_key(workspace, sweep)}"


def exact_now(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return what the store knows of the exact answers; runs nothing."""
    network, data = workspace.network, images_for(workspace, asked)
    if network is None or data is None:
        return None
    calibrated = known_statistics(workspace)
    sweep = asked.sweep(workspace.config.present)
    return kept(network, data, calibrated, sweep, workspace.store)


def best_known(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return the deepest answers there are, up to the depth asked for.

    Cells that an exact sweep has not reached yet are filled in by screening.
    """
    if asked.depth is Depth.INSTANT:
        return at_once(workspace, asked)
    quick = screened_for(workspace, asked)
    exact = exact_now(workspace, asked) if asked.depth is Depth.EXACT else None
    if exact is None or not exact.scores:
        return quick or at_once(workspace, asked)
    layers = [question.layer for question in questions(workspace, asked)]
    return deepest(exact, quick, list(dict.fromkeys(layers)))


def current(workspace: Workspace) -> Job | None:
    """Return the job that screens or sweeps, if one waits or runs."""
    return next((job for job in workspace.runner.active if job.title.startswith(JOB)), None)


def stop(workspace: Workspace, *, pause: bool) -> None:
    """Stop the sweep; what it found is kept. A paused one offers to go on."""
    job = current(workspace)
    if job is not None:
        job.shown = True  # the page says so itself
        job.cancel()
    workspace.sensitivity.paused = pause


def start(workspace: Workspace, asked: SweepRequest) -> None:
    """Queue the screening or the exact sweep; the store continues where it was."""
    network, parts = workspace.network, workspace.parts
    if network is None or parts is None:
        return
    workspace.sensitivity.paused = False
    remember(workspace, asked)
    sweep = asked.sweep(workspace.config.present)
    depth = "screening" if asked.depth is Depth.SCREENING else "exact sweep"
    then = workspace.as_now()  # other images may be chosen while it waits or runs
    workspace.runner.submit(
        Job(
            f"{JOB} of {network.name}, {depth}",
            lambda: _road(then, network, parts, asked, sweep),
            lambda _: setattr(workspace.sensitivity, "finished", (network.digest, asked)),
        )
    )


def _road(
    workspace: Workspace, network: Network, parts: Split, asked: SweepRequest, sweep: Sweep
) -> Steps[Sensitivity]:
    """Calibrate where that has not been done, screen for the order, then sweep."""
    data = parts.score.first(asked.images)
    key = screened_key(workspace, sweep, asked.images)
    alone = asked.depth is Depth.SCREENING
    statistics = statistics_for(workspace, network, parts)
    calibrated = yield from part(statistics, 0.0, CALIBRATION_SHARE)
    quick = screened(workspace, sweep, asked.images)
    if quick is None:
        steps = screen(network, data.first(SCREENED_IMAGES), calibrated, sweep)
        quick = yield from part(steps, CALIBRATION_SHARE, 1.0 if alone else SCREENING_SHARE)
        workspace.sensitivity.screened[key] = quick
        workspace.store.keep_answer(key, to_plain(quick))
    if alone:
        return quick
    workers: Workers = open_cluster(asked.scheduler) if asked.scheduler else Pool()
    work = sensitivity(
        network, data, calibrated, sweep, Depth.EXACT, workspace.store, workers, guiltiest(quick)
    )
    return (yield from part(work, SCREENING_SHARE, 1.0))


def statistics_for(workspace: Workspace, network: Network, parts: Split) -> Steps[Calibrated]:
    """Return the statistics of activations; collect them where they are missing."""
    known = workspace.calibrated(network, parts)
    if known is not None:
        return known
    found = Calibrated(input_range=parts.input_range)
    if parts.calibration is not None:
        found = yield from calibrate(network, parts.calibration, parts.input_range)
        workspace.keep_calibrated(network, parts, found)
    return found


def remember(workspace: Workspace, asked: SweepRequest) -> None:
    """Keep what was asked, so that a reload finds it; and a restart, where one person works."""
    workspace.sensitivity.asked[_asked_key(workspace)] = asked
    if paths_open(workspace.settings):
        workspace.store.keep_answer(_asked_key(workspace), to_plain(asked))


def remembered(workspace: Workspace) -> SweepRequest:
    """Return what was asked last of this model, or what to begin with."""
    key = _asked_key(workspace)
    if key in workspace.sensitivity.asked or not paths_open(workspace.settings):
        return workspace.sensitivity.asked.get(key, SweepRequest())
    raw = workspace.store.answer(key)
    try:
        return from_plain(SweepRequest, raw) if raw else SweepRequest()
    except (ValueError, TypeError):
        return SweepRequest()  # written by another version


def _asked_key(workspace: Workspace) -> str:
    network = workspace.network
    return f"sensitivity asked {network.digest if network else ''}"


def other_view(workspace: Workspace, asked: SweepRequest) -> Sensitivity | None:
    """Return the exact answers of the view that was not asked for, where the store has some."""
    view = View.ALL_BUT if asked.view is View.ONLY else View.ONLY
    found = exact_now(workspace, replace(asked, view=view, depth=Depth.EXACT))
    return found if found is not None and found.scores else None
