"""The metric of a task that the command line names, or that data and outputs tell."""

from dataclasses import replace
from pathlib import Path

from analysis.evaluation.tasks.choose_task import decide_task, metric_of
from analysis.evaluation.tasks.kinds import Head, TaskKind
from analysis.evaluation.tasks.task_metric import TaskMetric
from analysis.network import Network
from analysis.split import Split
from data_io.dataset import Dataset
from data_io.mask_folder import with_masks


def open_task(task: TaskKind, head: Head, network: Network, data: Dataset) -> TaskMetric | None:
    """Return the metric of a task; None for classification, which top-1 describes.

    auto decides from the targets of the first image and the outputs of the network.
    """
    if task is TaskKind.AUTO:
        (batch,) = data.first(1).batches(1)
        task = decide_task(network.graph.output_shapes, batch.targets)
    return metric_of(task, head, network.graph.input_shape)


def attach_targets(images: Split, masks: Path | None) -> Split:
    """Return the images with the masks of a folder as targets of those that are scored."""
    return images if masks is None else replace(images, score=with_masks(images.score, masks))
