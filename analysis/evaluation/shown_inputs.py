"""A few images as the network gets them: pictures, answers, and the numbers in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.input_numbers import InputNumbers, measure_inputs
from analysis.network import Network, forward_first_output
from data_io.dataset import Dataset
from quant.inputs import map_each_tensor, tensors_of_batch

SHOWN_IMAGES = 5
READ_IMAGES = 16


@dataclass(frozen=True, slots=True)
class Shown:
    """An image as the model sees it, stretched to 0..1 for display, and its answer."""

    picture: NDArray[np.float32]
    answer: str
    label: str
    right: bool | None


@dataclass(frozen=True, slots=True)
class ShownInputs:
    """Images for a page, of different classes where labels are known, and the numbers in them."""

    images: tuple[Shown, ...]
    numbers: InputNumbers


def image_input_place(network: Network) -> int | None:
    """Return which input is an image that can be shown; None without one."""
    for place, one in enumerate(network.graph.inputs):
        if one.real and len(one.shape) == 3 and {one.shape[0], one.shape[-1]} & {1, 3}:
            return place
    return None


def read_images(network: Network, data: Dataset) -> ShownInputs:
    """Read up to 16 images drawn at random; show the first of each of five classes.

    Raises:
        ValueError: an image cannot be read, or does not have the shape that the network takes.
    """
    place = image_input_place(network) or 0
    (batch,) = data.sample(min(READ_IMAGES, len(data))).batches(READ_IMAGES)
    inputs = tensors_of_batch(batch.inputs)[place]
    wanted = network.graph.inputs[place].shape
    if tuple(inputs.shape[1:]) != wanted:
        raise ValueError(
            f"An input must have the shape {wanted} that the model takes; these steps give "
            f"{tuple(inputs.shape[1:])}. Set channels, resize, crop and layout."
        )
    chosen = _different_classes(batch.labels if network.is_classifier else None, len(inputs))
    asked = map_each_tensor(lambda values: values[chosen], batch.inputs)
    logits = forward_first_output(network.graph, network.graph.batch, asked)
    names = data.class_names
    labels = [None if batch.labels is None else int(batch.labels[at]) for at in chosen]
    answers = [int(row.argmax()) if network.is_classifier else None for row in logits]
    images = tuple(
        _shown_input(inputs[at], answer, label, names)
        for at, answer, label in zip(chosen, answers, labels, strict=True)
    )
    last = wanted[0] not in (1, 3)
    return ShownInputs(images, measure_inputs(inputs, channels_last=last))


def pictures_of(
    network: Network, data: Dataset, places: Sequence[int]
) -> tuple[NDArray[np.float32], ...]:
    """Return the images at these places of the data as pictures, in the given order."""
    if not places:
        return ()
    (batch,) = data.subset(places).batches(len(places))
    inputs = tensors_of_batch(batch.inputs)[image_input_place(network) or 0]
    return tuple(_picture(image) for image in inputs)


def _picture(image: Tensor) -> NDArray[np.float32]:
    """Return an image (C, H, W) or (H, W, C) as a picture (H, W, C), stretched to 0..1."""
    low, high = image.min(), image.max()
    picture: NDArray[np.float32] = ((image - low) / (high - low).clamp(min=1e-9)).numpy()
    return picture.transpose(1, 2, 0) if picture.shape[0] in (1, 3) else picture


def _different_classes(labels: Tensor | None, count: int) -> list[int]:
    """Return five places, of as many classes as there are; the first ones without labels (N,)."""
    if labels is None:
        return list(range(min(SHOWN_IMAGES, count)))
    first: dict[int, int] = {}
    for place, label in enumerate(labels.tolist()):
        first.setdefault(label, place)
    others = [place for place in range(count) if place not in first.values()]
    return [*first.values(), *others][:SHOWN_IMAGES]


def _shown_input(
    image: Tensor, answer: int | None, label: int | None, names: tuple[str, ...]
) -> Shown:
    """Return an image (C, H, W) or (H, W, C) as a picture with its answer and label."""
    picture = _picture(image)
    if answer is None:
        return Shown(picture, "", "", None)
    truth = "" if label is None else _class_name(label, names)
    right = None if label is None else label == answer
    return Shown(picture, _class_name(answer, names), truth, right)


def _class_name(place: int, names: tuple[str, ...]) -> str:
    return names[place] if place < len(names) else str(place)
