"""The guilty layers: the loss from a layer quantized alone, or left float alone."""

import time
from collections.abc import Sequence
from dataclasses import replace

from analysis.sensitivity.exact.answer_store import Cells
from analysis.sensitivity.exact.executors import Pool, Workers
from analysis.sensitivity.exact.gather import ask_sweep_questions, gather_scores, is_sweep_answered
from analysis.sensitivity.exact.run import FIRST_LAYERS, run_exact_sweep
from analysis.sensitivity.exact.task_scores import measure_task_scores, with_stored_task_scores
from analysis.sensitivity.ranking import layers_by_cost
from analysis.sensitivity.screening.screen import screen_layers
from analysis.sensitivity.sweep import Depth, Sensitivity, Sweep
from analysis.sensitivity.tensor_noise import tensor_noise_sensitivity
from analysis.study import Study
from quant.errors import QuantError
from quant.progress import Progress, Steps, part_of_progress

SCREENED_IMAGES = 8
SCREENING_SHARE = 0.05
TASK_START = 0.4
"""Of the progress: where the task's metric starts, which takes longer than the sweep."""


def analyze_sensitivity(
    study: Study,
    sweep: Sweep,
    depth: Depth = Depth.EXACT,
    workers: Workers | None = None,
    ranking: Sequence[str] | None = None,
) -> Steps[Sensitivity]:
    """Answer a sweep's questions from the scored images of `study`, to the depth of the sweep.

    An exact sweep stores answers in the study's store and computes only missing answers: closing
    the generator loses nothing, and more images refine the answers. `ranking` names layers, the
    worst first; answers come in the order of the ranking. Without a ranking, screening of few
    images ranks the layers.

    Raises:
        QuantError: there is no image, a label is no output of the network, a layer is not the
            network's, or a range needs statistics that calibration has not collected.
    """
    if depth is Depth.INSTANT:
        return tensor_noise_sensitivity(study, sweep)
    if depth is Depth.SCREENING:
        return (yield from screen_layers(study, sweep))
    return (yield from analyze_exactly(study, sweep, workers or Pool(), ranking, screened=True))


def rank_layers_worst_first(study: Study, sweep: Sweep) -> Steps[tuple[str, ...]]:
    """Return the layers in question in the order of screening on few images."""
    asked = replace(sweep, bits=(min(sweep.bits),))
    found = yield from screen_layers(
        study.with_scored_images(study.scored_images.first(SCREENED_IMAGES)), asked
    )
    return layers_by_cost(found)


def analyze_exactly(
    study: Study,
    sweep: Sweep,
    workers: Workers,
    ranking: Sequence[str] | None = None,
    *,
    screened: bool = False,
    reuse: bool = True,
) -> Steps[Sensitivity]:
    """Answer by forwards of the scored images.

    `screened` asks screening for a ranking, if none is given and answers are missing. Without
    `reuse` an answer takes a full forward.
    """
    data = study.scored_images
    if len(data) == 0:
        raise QuantError("A score needs data; got none. Choose other data.")
    yield Progress(0.0, "Looking up what is known")
    start = time.monotonic()
    cells = Cells(study.store.path if study.store else None)
    asked = ask_sweep_questions(study, sweep, cells)
    before = 0.0
    if (
        screened
        and ranking is None
        and len(asked.layers_in_question) > FIRST_LAYERS
        and not is_sweep_answered(asked, cells)
    ):
        before = SCREENING_SHARE
        ranking = yield from part_of_progress(rank_layers_worst_first(study, sweep), 0.0, before)
    work = run_exact_sweep(asked, data, cells, workers, ranking, reuse=reuse)
    end = 1.0 if study.metric is None else TASK_START
    macs = yield from part_of_progress(work, before, end)
    whole = asked.encodings.program.macs_between(0, len(asked.encodings.program)) * len(data)
    forwards = macs / whole if whole else 0.0
    found = gather_scores(asked, cells, time.monotonic() - start, forwards)
    found = yield from part_of_progress(measure_task_scores(study, asked, found), end, 1.0)
    return replace(found, seconds=time.monotonic() - start)


def kept_sensitivity(study: Study, sweep: Sweep) -> Sensitivity:
    """Return the stored answers of an exact sweep; runs nothing.

    Raises:
        ConfigError: a layer or a rule of the sweep does not fit the network.
    """
    cells = Cells(study.store.path if study.store else None)
    asked = ask_sweep_questions(study, sweep, cells)
    return with_stored_task_scores(study, asked, gather_scores(asked, cells))
