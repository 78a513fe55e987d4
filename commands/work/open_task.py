"""The metric of a task that the command line names, or that data and outputs tell."""

from dataclasses import replace
from pathlib import Path

from analysis.evaluation.tasks.choose_task import decide_task, metric_of
from analysis.evaluation.tasks.kinds import Head, TaskKind
from analysis.evaluation.tasks.task_metric import TaskMetric
from analysis.network import Network
from analysis.split import Split
from data_io.coco_boxes import with_boxes
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


def attach_targets(images: Split, path: Path | None) -> Split:
    """Return the images with the masks of a folder, or the boxes of a COCO file, as targets.

    Only images that are scored get targets.
    """
    if path is None:
        return images
    attach = with_boxes if path.suffix.lower() == ".json" else with_masks
    return replace(images, score=attach(images.score, path))
