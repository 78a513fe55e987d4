"""Which task data and outputs are of, and the metric that goes with the task."""

from functools import partial

from torch import Tensor

from analysis.evaluation.tasks.anomaly import AnomalyEvidence
from analysis.evaluation.tasks.detection import BoxEvidence
from analysis.evaluation.tasks.embedding import NeighbourEvidence
from analysis.evaluation.tasks.kinds import Head, TaskKind
from analysis.evaluation.tasks.regression import ErrorEvidence
from analysis.evaluation.tasks.segmentation import PixelEvidence
from analysis.evaluation.tasks.task_metric import TaskMetric
from analysis.evaluation.user_metric import Targets

DETECTION_RESAMPLES = 100
"""Each resample sorts nothing anew but adds all boxes up; so many take seconds."""


def decide_task(outputs: tuple[tuple[int, ...], ...], targets: Targets) -> TaskKind:
    """Return the task of outputs, shapes for one image, and the targets of some images.

    Embeddings and anomalies look like classes or numbers, so they are never decided on.
    """
    first = outputs[0]
    if isinstance(targets, dict):
        return (
            TaskKind.DETECTION if {"boxes", "classes"} <= set(targets) else TaskKind.CLASSIFICATION
        )
    if not isinstance(targets, Tensor):
        return TaskKind.CLASSIFICATION
    shape = tuple(targets.shape[1:])
    if len(first) == 3 and len(shape) >= 2 and not targets.is_floating_point():
        return TaskKind.SEGMENTATION
    if targets.is_floating_point() and targets[0].numel() == _size(first):
        return TaskKind.REGRESSION
    return TaskKind.CLASSIFICATION


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def metric_of(
    task: TaskKind, head: Head, input_shape: tuple[int, ...], priors: Tensor | None = None
) -> TaskMetric | None:
    """Return the metric of a task; None for classification, which top-1 describes.

    `input_shape` is (C, H, W) of the network's input, for boxes in shares of the image; `priors`
    (M, 4) are the prior boxes of an SSD head.
    """
    name = str(task)
    match task:
        case TaskKind.SEGMENTATION:
            return TaskMetric(name, "mIoU", True, PixelEvidence)  # noqa: FBT003
        case TaskKind.DETECTION:
            height, width = (*input_shape, 1, 1)[1:3]
            collect = partial(BoxEvidence, head, (height, width), priors)
            return TaskMetric(name, "mAP", True, collect, DETECTION_RESAMPLES)  # noqa: FBT003
        case TaskKind.REGRESSION:
            return TaskMetric(name, "MAE", False, ErrorEvidence, share=False)  # noqa: FBT003
        case TaskKind.EMBEDDING:
            return TaskMetric(name, "recall at 1", True, NeighbourEvidence)  # noqa: FBT003
        case TaskKind.ANOMALY:
            return TaskMetric(name, "AUC", True, AnomalyEvidence)  # noqa: FBT003
    return None
