"""The task's metric of each question of an exact sweep, with paired intervals over images.

A metric such as mAP is no mean over images, so rows of images do not hold it: the network runs once
more for each question, and the evidence of its answers is weighed anew in each resample. Results
are stored question by question, so a cancelled pass goes on.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.lost_score import LostScore, lost_metric
from analysis.evaluation.measures import Interval
from analysis.evaluation.per_image import MIN_IMAGES, resample_counts
from analysis.evaluation.tasks.task_metric import TaskEvidence, TaskMetric
from analysis.evaluation.user_metric import MetricScore
from analysis.sensitivity.exact.answer_store import Cells
from analysis.sensitivity.exact.gather import SweepQuestions
from analysis.sensitivity.exact.image_chunks import Chunk, images_of_chunk
from analysis.sensitivity.exact.run import OpenWork
from analysis.sensitivity.exact.work_unit import outputs_of_unit
from analysis.sensitivity.sweep import CellScore, Sensitivity
from analysis.study import Study
from quant.progress import Progress, Steps

CELL_RESAMPLES = 60
"""Resamples for a question: there are many questions (our choice)."""


def measure_task_scores(
    study: Study, asked: SweepQuestions, found: Sensitivity
) -> Steps[Sensitivity]:
    """Return a sweep's answers with the loss in the task's metric; unchanged without a metric.

    Raises:
        QuantError: outputs or targets do not fit the task.
    """
    metric = study.metric
    if metric is None:
        return found
    known = _stored_losses(study, metric, asked)
    missing = {key for key in asked.keys.values() if key not in known}
    if missing:
        measured = yield from _measure_losses(study, metric, asked, missing)
        known = {**known, **measured}
    return _with_losses(found, metric, asked, known)


def with_stored_task_scores(study: Study, asked: SweepQuestions, found: Sensitivity) -> Sensitivity:
    """Return a sweep's answers with the stored losses in the task's metric; runs nothing."""
    if study.metric is None:
        return found
    return _with_losses(found, study.metric, asked, _stored_losses(study, study.metric, asked))


def _measure_losses(
    study: Study, metric: TaskMetric, asked: SweepQuestions, missing: set[str]
) -> Steps[dict[str, LostScore]]:
    """Run the network for each missing question and return the losses by key."""
    data = study.scored_images
    work = OpenWork(asked, data, Cells(None), reuse=True)
    reference = metric.collect()
    evidence: dict[str, TaskEvidence] = {key: metric.collect() for key in missing}
    done, total = 0, max(1, len(missing) * len(asked.chunks))
    for chunk in asked.chunks:
        batch = next(iter(images_of_chunk(data, chunk).batches(len(chunk.images))))
        for key, outputs in _outputs_of_chunk(asked, work, chunk):
            if key == asked.float_key and len(reference) < _images_before(asked, chunk):
                reference.add(outputs, batch.targets)
            elif key in evidence and len(evidence[key]) < _images_before(asked, chunk):
                evidence[key].add(outputs, batch.targets)
                done += 1
                scored = f"{asked.images} {study.network.noun}s"
                text = f"{metric.name} of {len(missing)} questions on {scored}"
                yield Progress(0.9 * done / total, text)
    counts = resample_counts(len(reference))[:CELL_RESAMPLES]
    before = _scores_of_evidence(reference, counts)
    found = {}
    for number, (key, one) in enumerate(evidence.items()):
        yield Progress(0.9 + 0.1 * number / len(evidence), f"Intervals of {metric.name}")
        lost = _loss_of_question(metric, before, _scores_of_evidence(one, counts))
        if lost is not None:
            found[key] = lost
            _keep_loss(study, metric, key, lost)
    return found


def _outputs_of_chunk(
    asked: SweepQuestions, work: OpenWork, chunk: Chunk
) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """Yield outputs of shape (N, ...) of the float network and of each question, by key."""
    for unit in work.yield_units(asked.layers_in_question, (chunk,), 1):
        yield from outputs_of_unit(work.program, unit)


def _images_before(asked: SweepQuestions, chunk: Chunk) -> int:
    """Return the number of images up to the end of a chunk."""
    place = asked.chunks.index(chunk)
    return sum(len(one.images) for one in asked.chunks[: place + 1])


def _scores_of_evidence(evidence: TaskEvidence, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the score of all images, then that of each resample, (1 + R,)."""
    ones = np.ones((1, len(evidence)))
    rows = ones if len(evidence) < MIN_IMAGES else np.concatenate([ones, counts])
    return np.array([evidence.score(row) for row in rows])


def _loss_of_question(
    metric: TaskMetric, before: NDArray[np.float64], after: NDArray[np.float64]
) -> LostScore | None:
    """Return the loss by the scores (1 + R,) of both networks."""
    change = after - before
    ends = None
    if len(change) > 1 and np.isfinite(change[1:]).all():
        low, high = np.percentile(change[1:], [2.5, 97.5])
        ends = Interval(float(low), float(high))
    return lost_metric(
        MetricScore(
            name=metric.name,
            higher_is_better=metric.higher_is_better,
            float_value=float(before[0]),
            quantized_value=float(after[0]),
            change=float(change[0]),
            change_ci95=ends,
            share=metric.share,
            task=metric.task,
        )
    )


def _answer_name(study: Study, metric: TaskMetric, key: str) -> str:
    text = f"{metric.identity} {key} {study.scored_images.digest}"
    return f"task score {hashlib.sha256(text.encode()).hexdigest()}"


def _keep_loss(study: Study, metric: TaskMetric, key: str, lost: LostScore) -> None:
    if study.store is not None and study.store.path is not None:
        ends = None if lost.interval is None else [lost.interval.low, lost.interval.high]
        study.store.keep_answer(_answer_name(study, metric, key), [lost.points, ends, lost.unit])


def _stored_losses(study: Study, metric: TaskMetric, asked: SweepQuestions) -> dict[str, LostScore]:
    if study.store is None or study.store.path is None:
        return {}
    found = {}
    for key in asked.keys.values():
        plain = study.store.find_answer(_answer_name(study, metric, key))
        if isinstance(plain, list) and len(plain) == 3:
            ends = None if plain[1] is None else Interval(*map(float, plain[1]))
            found[key] = LostScore(float(plain[0]), ends, str(plain[2]))
    return found


def _with_losses(
    found: Sensitivity,
    metric: TaskMetric,
    asked: SweepQuestions,
    losses: Mapping[str, LostScore],
) -> Sensitivity:
    def scored(score: CellScore) -> CellScore:
        lost = losses.get(asked.keys.get(score.question, ""))
        if lost is None:
            return score
        return replace(score, task_loss=lost.points, task_loss_ci95=lost.interval)

    return replace(
        found,
        scores=tuple(map(scored, found.scores)),
        whole=tuple(map(scored, found.whole)),
        metric_name=metric.name,
    )
