"""Images by place, shifted and mirrored at random if the network tolerates the change."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from analysis.evaluation.evaluate import Data
from analysis.network import Network, forward_first_output
from data_io.dataset import Dataset
from quant.inputs import Inputs

SHIFT_SHARE = 14
"""Images are shifted by up to 1/14 of their width: 2 pixels of 28."""
SMALLEST_IMAGE = 16
TOLERANCE = 0.02
"""Answers that may change when images are mirrored; above, mirrors are no images of the task."""
CHECKED = 256


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The largest shift of images in pixels, and whether images are mirrored."""

    shift: int = 0
    mirror: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return images of shape (N, C, H, W), shifted and mirrored at random; edges repeat."""
        count, _, height, width = images.shape
        if self.shift:
            reach = self.shift
            padded = functional.pad(images, (reach,) * 4, mode="replicate")
            down, right = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=generator)
            rows = (torch.arange(height) + down)[:, None, :, None]
            columns = (torch.arange(width) + right)[:, None, None, :]
            each = torch.arange(count)[:, None, None, None]
            channels = torch.arange(images.shape[1])[None, :, None, None]
            images = padded[each, channels, rows, columns]
        if self.mirror:
            turned = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
            images = torch.where(turned, images.flip(3), images)
        return images


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """The images of a dataset for a training loop, in any order."""

    data: Dataset
    augmentation: Augmentation

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.data)

    def take(
        self, places: Sequence[int], generator: torch.Generator | None
    ) -> tuple[Inputs, Tensor | None]:
        """Return (inputs, labels or targets or None) at the places, of shape (N, ...)."""
        batch = next(self.data.subset(places).batches(len(places)))
        inputs = batch.inputs
        if generator is not None and isinstance(inputs, Tensor) and inputs.dim() == 4:
            inputs = self.augmentation(inputs, generator)
        return inputs, comparison_goal(batch.labels, batch.targets)


def comparison_goal(labels: Tensor | None, targets: object) -> Tensor | None:
    """Return the goal of the outputs, of shape (N, ...): labels, else a targets tensor, or None."""
    if labels is not None:
        return labels
    return targets if isinstance(targets, Tensor) else None


def watched_batches(data: Data, size: int) -> list[tuple[Inputs, Tensor | None]]:
    """Return the images of `data` in batches of shape (N, ...), with the goals of the outputs."""
    return [
        (batch.inputs, comparison_goal(batch.labels, getattr(batch, "targets", None)))
        for batch in data.batches(size)
    ]


def choose_image_augmentation(network: Network, watch: Data) -> Augmentation:
    """Return the tolerated augmentation: images are mirrored if mirroring changes no answer.

    A network trained with mirrored images gives equal answers; mirrored letters and digits are
    other signs. Tables, texts and small images stay unchanged.
    """
    batch = next(iter(watch.batches(CHECKED)), None)
    if batch is None:
        return Augmentation()
    inputs = batch.inputs
    if not isinstance(inputs, Tensor) or inputs.dim() != 4 or not network.is_classifier:
        return Augmentation()
    if not inputs.is_floating_point() or min(inputs.shape[2:]) < SMALLEST_IMAGE:
        return Augmentation()
    answers = forward_first_output(network.graph, network.graph.batch, inputs).argmax(-1)
    mirrored = forward_first_output(network.graph, network.graph.batch, inputs.flip(3)).argmax(-1)
    goal = answers if batch.labels is None else batch.labels
    lost = float((answers == goal).float().mean() - (mirrored == goal).float().mean())
    return Augmentation(inputs.shape[3] // SHIFT_SHARE, lost <= TOLERANCE)
