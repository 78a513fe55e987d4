"""The images that score a run, and the other images that choose ranges."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.calibration import config_needs_data
from analysis.evaluation.tasks.kinds import AUTO_TASK, TaskChoice
from analysis.evaluation.tasks.open_task import attach_targets, open_task
from analysis.evaluation.tasks.task_metric import TaskMetric
from analysis.network import Network
from data_io.arrays import ArraySource
from data_io.bundled import BUNDLED_DATA
from data_io.dataset import Dataset, check_class_labels
from data_io.errors import DatasetError
from data_io.image_geometry import ResizeTo
from data_io.open_dataset import open_dataset
from data_io.preprocessing import Layout, Preprocess
from quant.config import QuantConfig
from quant.graph.float_graph import FloatGraph
from quant.graph.layers import is_input_name
from quant.inputs import Input, first_output_of, sample_shapes
from sample_models.registry import SAMPLES

WATCHED = 1000
"""Images that watch a training, at most: 1 000 tell a loss within some percent, in a second."""
SCORED_SHARE = 0.2
"""Share of the user's own images that a training leaves for the score; our choice."""
WATCHED_SHARE = 0.1
FEWEST = 20
_FEW = 16
LARGEST_SHARE = 2  # calibration takes at most 1 / LARGEST_SHARE of the user's own images


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """The user's choice of images; None means a sample's own images, or every image.

    `data` is a folder of images, an .npz file or a .csv table. `calibration` images choose ranges
    if the configuration needs images; `samples` of the other images are scored, drawn with `seed`.
    `task` chooses the metric of the score.
    `held_out` scores only the images that a training of the same data and seed leaves out.

    Raises:
        DatasetError: a number is out of bounds.
    """

    data: Path | None = None
    preprocess: Preprocess | None = None
    samples: int | None = None
    calibration: int = 256
    seed: int = 0
    task: TaskChoice = AUTO_TASK
    held_out: bool = False

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 1:
            raise DatasetError(f"Samples must number at least 1; got {self.samples}.")
        if self.calibration < 0:
            raise DatasetError(f"Calibration data must number 0 or more; got {self.calibration}.")


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint images for scores and for calibration.

    `calibration` is None if no range needs images. `input_range` bounds the inputs from 8-bit
    pixels; None for data of real numbers. `notes` describe the choice in words. `metric` is the
    metric of the task; None for classification.
    """

    score: Dataset
    calibration: Dataset | None
    input_range: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    metric: TaskMetric | None = None


def choose_data_split(
    model: str,
    network: Network,
    config: QuantConfig,
    choice: ImageChoice,
    *,
    learning: bool = False,
) -> Split:
    """Return the images for a model: the images at `choice.data`, or a sample's own.

    `learning` says that a pass needs calibration images, even if ranges need no images.

    `model` is the name of a sample or another model. Samples with bundled data are scored on the
    test set and calibrated on items of the training set; other data are divided at random.

    Raises:
        DatasetError: data or preprocessing is missing, unreadable, or does not fit the network.
    """
    if choice.data is None:
        split = _bundled_data_split(
            model,
            choice,
            _calibration_image_count(network, config, choice, free_of_data=not learning),
        )
        split = replace(split, score=attach_targets(choice.task, network, split.score))
    else:
        data, limits = open_user_data(model, network, choice)
        pixels = not _is_ready_input(data) and not wanted_inputs(network.graph)
        count = _calibration_image_count(
            network,
            config,
            choice,
            free_of_data=not learning and (pixels or _input_is_float(network, config)),
        )
        data = attach_targets(choice.task, network, data)  # images for ranges measure losses, too
        divided = _held_out_split(data, count, choice) if choice.held_out else None
        split = replace(divided or _divide_data(data, count, choice), input_range=limits)
        check_first_image(network, split.score)
    metric = open_task(choice.task, network, split.score)
    return _limit_scored_images(replace(split, metric=metric), choice)


def open_user_data(
    model: str, network: Network, choice: ImageChoice
) -> tuple[Dataset, tuple[float, float] | None]:
    """Return the user's data and the range of inputs from 8-bit pixels; None for real numbers.

    Raises:
        DatasetError: data or preprocessing is missing, or the data are unreadable.
    """
    if choice.data is None:
        raise DatasetError(
            f"{model} comes without data; got none. Name a folder of images, an .npz file or "
            "a .csv table."
        )
    sample = SAMPLES.get(model)
    preprocess = choice.preprocess or (sample.preprocess if sample else None)
    if preprocess is None and network.takes_pixels and choice.data.suffix == ".npz":
        unscaled = preprocess_of_shape(network.graph.input_shape, scales=False)
        preprocess = replace(unscaled, resize=None, resize_width=None)
    wanted = wanted_inputs(network.graph)
    data = _open_data(choice.data, preprocess, wanted)
    pixels = not _is_ready_input(data) and not wanted
    if network.takes_pixels and not pixels and choice.preprocess is None:
        _check_whole_pixels(data)
    return data, pixel_input_range(preprocess) if preprocess is not None and pixels else None


def _calibration_image_count(
    network: Network, config: QuantConfig, choice: ImageChoice, *, free_of_data: bool
) -> int:
    """Return the number of images for ranges: 0 if ranges need no data."""
    if free_of_data and not config_needs_data(network, config):
        return 0
    if choice.calibration == 0:
        raise DatasetError(
            "Ranges of this configuration need calibration data; got none. Allow some, or choose "
            "the estimator batch-norm."
        )
    return choice.calibration


def wanted_inputs(graph: FloatGraph) -> tuple[Input, ...]:
    """Return the data that a network needs; nothing for one array of real numbers."""
    return () if len(graph.inputs) == 1 and graph.inputs[0].real else graph.inputs


def preprocess_of_shape(shape: Sequence[int], *, scales: bool) -> Preprocess:
    """Return the preprocessing that fits images to an input (C, H, W) or (H, W, C).

    Pixels of 0 to 255 become 0 to 1 where `scales`; else they stay, for a network that takes
    pixels and scales them itself.
    """
    first, last = (shape[0], shape[-1]) if shape else (1, 1)
    # networks from TensorFlow have channels last
    behind = last in (1, 3) and first not in (1, 3)
    channels, sides = (last, shape[:-1]) if behind else (first, shape[1:])
    height, width = (sides[0], sides[-1]) if sides else (last, last)
    colours = channels if channels in (1, 3) else 3
    return Preprocess(
        channels=colours,
        resize=height,
        resize_width=None if width == height else width,
        resize_to=ResizeTo.SHORT_SIDE if width == height else ResizeTo.BOTH_SIDES,
        mean=(0.0,) * colours,
        std=(255.0 if scales else 1.0,) * colours,
        layout=Layout.NHWC if behind else Layout.NCHW,
    )


def _input_is_float(network: Network, config: QuantConfig) -> bool:
    chosen = config.resolve_layers(network.graph.layers)
    return all(chosen[name].activation.is_float for name in chosen if is_input_name(name))


def _bundled_data_split(model: str, choice: ImageChoice, count: int) -> Split:
    """Return a sample's own test set and, for calibration, items of the training set."""
    sample = SAMPLES.get(model)
    if sample is None or sample.dataset not in BUNDLED_DATA:
        raise DatasetError(
            f"{model} comes without data; got none. Name a folder of images, an .npz file or "
            "a .csv table."
        )
    if choice.preprocess is not None:
        raise DatasetError(
            "Preprocessing belongs to data of your own; got none. Name the data, or leave it out."
        )
    own = BUNDLED_DATA[sample.dataset]
    chosen = own.train().sample(count, choice.seed) if count else None
    return Split(own.test(), chosen, pixel_input_range(sample.preprocess) if own.pixels else None)


def _open_data(data: Path, preprocess: Preprocess | None, wanted: tuple[Input, ...]) -> Dataset:
    """Open the data; images need preprocessing, numbers in an .npz need no preprocessing."""
    found = open_dataset(data, preprocess or Preprocess(), wanted)
    if preprocess is None and not _is_ready_input(found):
        raise DatasetError(
            f"Images need the preprocessing that the model was trained with; got none for "
            f"{found.name}. Name a preprocessing file, such as "
            '{"resize": 256, "crop": 224, "mean": [0, 0, 0], "std": [255, 255, 255]}.'
        )
    return found


def _is_ready_input(data: Dataset) -> bool:
    """Whether the data are numbers in the form of the network's input."""
    return isinstance(data.source, ArraySource) and not data.source.has_pixels


def _check_whole_pixels(data: Dataset) -> None:
    """Check the first items of data for a network that takes pixels and scales them itself.

    Raises:
        DatasetError: the numbers are no pixels of 0 to 255.
    """
    few = first_output_of(data.source.read(range(min(_FEW, len(data))))[0])
    if bool(((few < 0) | (few > 255) | (few != few.round())).any()):
        raise DatasetError(
            "The network takes whole pixels of 0 to 255 and scales them itself; got numbers from "
            f"{float(few.min()):.3g} to {float(few.max()):.3g} in {data.name}. Give the pixels."
        )


def _divide_data(data: Dataset, count: int, choice: ImageChoice) -> Split:
    """Draw calibration images, at most half of `data`, and keep the other images for the score."""
    if count == 0:
        return Split(data, None)
    if len(data) < LARGEST_SHARE:
        raise DatasetError(
            f"Calibration and score need {data.noun}s of their own, at least 2; got {len(data)} in "
            f"{data.name}. Add {data.noun}s."
        )
    drawn = min(count, len(data) // LARGEST_SHARE)
    chosen, rest = data.split(drawn, choice.seed)
    notes = [f"{drawn} of {len(data)} {data.noun}s, drawn at random, chose the ranges; not scored."]
    if drawn < count:
        notes.append(f"{count} {data.noun}s were to choose ranges; half of the data is the most.")
    return Split(rest, chosen, notes=tuple(notes))


def divide_for_training(data: Dataset, seed: int) -> tuple[Dataset, Dataset, Dataset]:
    """Return the images of the user's data that train, watch and score, by `seed`.

    A fifth scores, a tenth (at most 1 000) watches.

    Raises:
        DatasetError: the images are too few.
    """
    if len(data) < FEWEST:
        raise DatasetError(
            f"Training, watching and scoring need {data.noun}s of their own, at least {FEWEST}; "
            f"got {len(data)} in {data.name}. Add {data.noun}s."
        )
    score, rest = data.split(max(1, int(SCORED_SHARE * len(data))), seed)
    watch, train = rest.split(watched_image_count(len(data)), seed)
    return train, watch, score


def watched_image_count(count: int) -> int:
    """Return the number of watched images among `count`.

    >>> watched_image_count(500)
    50
    """
    return max(1, min(WATCHED, int(WATCHED_SHARE * count)))


def _held_out_split(data: Dataset, count: int, choice: ImageChoice) -> Split:
    """Return the images that a training leaves out, to score; training images choose ranges."""
    train, _, score = divide_for_training(data, choice.seed)
    note = f"Scored on the {len(score)} {data.noun}s that neither trained nor watched."
    drawn = min(count, len(train))
    return Split(score, train.sample(drawn, choice.seed) if drawn else None, notes=(note,))


def _limit_scored_images(split: Split, choice: ImageChoice) -> Split:
    """Return the split with the requested number of scored images."""
    count = choice.samples
    if count is None or count >= len(split.score):
        return split
    note = f"Scored on {count} {split.score.noun}s drawn at random from {len(split.score)}."
    return replace(split, score=split.score.sample(count, choice.seed), notes=(*split.notes, note))


def check_first_image(network: Network, data: Dataset) -> None:
    """Read one image and compare shape and labels with the network's inputs and outputs.

    Raises:
        DatasetError: image or labels do not fit; the sentence names the mismatch.
    """
    if len(data) == 0:
        raise DatasetError(f"A score needs {data.noun}s; {data.name} has none. Choose other data.")
    batch = next(iter(data.first(1).batches(1)))
    several = len(network.graph.inputs) > 1
    for one, got in zip(network.graph.inputs, sample_shapes(batch.inputs), strict=True):
        if got != one.shape:
            remedy = "Set channels, resize, crop and layout of the preprocessing."
            raise DatasetError(
                f"An input must have the shape {one.shape} that the model takes"
                f"{f' as {one.name}' if several else ''}; {data.name} gives {got}. "
                f"{remedy if len(one.shape) == 3 else 'Bring data made for this model.'}"
            )
    if data.labelled and network.is_classifier:
        check_class_labels(data, network.output_count)


def pixel_input_range(preprocess: Preprocess) -> tuple[float, float]:
    """Return the smallest and the largest input that 8-bit pixels can become."""
    pairs = list(zip(preprocess.mean, preprocess.std, strict=True))
    return (
        min((0 - mean) / std for mean, std in pairs),
        max((255 - mean) / std for mean, std in pairs),
    )
