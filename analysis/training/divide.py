"""Disjoint images for training, watching and scoring."""

from dataclasses import dataclass

from analysis.evaluation.tasks.open_task import attach_targets, open_task
from analysis.evaluation.tasks.task_metric import TaskMetric
from analysis.network import Network
from analysis.split import (
    ImageChoice,
    check_first_image,
    divide_for_training,
    open_user_data,
    pixel_input_range,
    watched_image_count,
)
from data_io.bundled import BUNDLED_DATA
from data_io.dataset import Dataset
from data_io.errors import DatasetError
from sample_models.registry import SAMPLES


@dataclass(frozen=True, slots=True)
class TrainingSplit:
    """Images that train, watch and score; the `calibration` images choose ranges and train too.

    `input_range` bounds the inputs from 8-bit pixels; None for data of real numbers. `metric` is
    that of the task; None for classification.
    """

    train: Dataset
    watch: Dataset
    score: Dataset
    calibration: Dataset
    input_range: tuple[float, float] | None = None
    metric: TaskMetric | None = None

    @property
    def counts_sentence(self) -> str:
        """The three counts in words."""
        return (
            f"{len(self.train)} {self.train.noun}s train, {len(self.watch)} others watch (they "
            f"choose the best state), {len(self.score)} others score."
        )


def divide_training_images(model: str, network: Network, choice: ImageChoice) -> TrainingSplit:
    """Return the three parts for a model: of the data at `choice.data`, or of a sample's own.

    A sample's test set scores, the training part trains and watches. The user's own data are
    divided at random by `choice.seed`: a fifth scores, a tenth (at most 1 000) watches.

    Raises:
        DatasetError: the images are missing, too few, or do not fit the network.
    """
    if choice.data is None:
        sample = SAMPLES.get(model)
        if sample is None or sample.dataset not in BUNDLED_DATA:
            raise DatasetError(
                f"{model} comes without data; got none. Name a folder of images, an .npz file or a "
                ".csv table to train on."
            )
        own = BUNDLED_DATA[sample.dataset]
        watch, train = own.train().split(watched_image_count(len(own.train())), choice.seed)
        score, limits = own.test(), pixel_input_range(sample.preprocess) if own.pixels else None
    else:
        data, limits = open_user_data(model, network, choice)
        train, watch, score = divide_for_training(data, choice.seed)
    check_first_image(network, score)
    score = attach_targets(choice.task, network, score)
    metric = open_task(choice.task, network, score)
    if choice.samples is not None and choice.samples < len(score):
        score = score.sample(choice.samples, choice.seed)
    drawn = min(max(choice.calibration, 1), len(train))
    return TrainingSplit(train, watch, score, train.sample(drawn, choice.seed), limits, metric)
