"""The task of a network on data: its metric, and the targets of a folder of images."""

from analysis.evaluation.tasks.choose_task import decide_task, metric_of
from analysis.evaluation.tasks.kinds import TaskChoice, TaskKind
from analysis.evaluation.tasks.task_metric import TaskMetric
from analysis.network import Network
from data_io.dataset import Dataset
from data_io.targets.attach_targets import with_targets
from data_io.targets.prior_boxes import read_prior_boxes


def open_task(choice: TaskChoice, network: Network, data: Dataset) -> TaskMetric | None:
    """Return the metric of a task; None for classification, which top-1 describes.

    auto decides from the targets of the first image and the outputs of the network.
    """
    kind = choice.kind
    if kind is TaskKind.AUTO:
        (batch,) = data.first(1).batches(1)
        kind = decide_task(network.graph.output_shapes, batch.targets)
    priors = None if choice.priors is None else read_prior_boxes(choice.priors)
    return metric_of(kind, choice.head, network.graph.input_shape, priors)


def attach_targets(choice: TaskChoice, network: Network, images: Dataset) -> Dataset:
    """Return the images with the masks or boxes at the choice's path; without a path the images.

    A COCO file holds boxes and masks: it gives masks where segmentation is chosen.
    """
    if choice.targets is None:
        return images
    segments = choice.kind is TaskKind.SEGMENTATION
    return with_targets(
        images, choice.targets, network.graph.output_shapes[0][0] if segments else None
    )
