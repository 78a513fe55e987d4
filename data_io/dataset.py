"""A dataset: a name, a content digest, and batches as a stream."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data_io.errors import DatasetError

Inputs = Tensor | tuple[Tensor, ...]
"""What a network takes: one tensor (N, ...), or one for each of several inputs."""
Targets = Tensor | dict[str, Tensor] | None
"""What a metric of the user's compares outputs with: one tensor (N, ...), or several by name."""


@dataclass(frozen=True)
class Batch:
    """Images ready for a network.

    Attributes:
        inputs: float32 (N, C, H, W), or as the preprocessing declares; a tuple for several inputs.
        labels: int64 (N,), or None for data without labels.
        indices: the places of the images in the whole dataset.
        targets: values for a user's metric; the labels by default.
    """

    inputs: Inputs
    labels: Tensor | None
    indices: tuple[int, ...]
    targets: Targets = None


@dataclass(frozen=True, slots=True)
class Corrections:
    """What is put right of data that were written for another network.

    Attributes:
        class_order: the class of the network for each label of the data; empty for equal orders.
        factor: multiplies arrays of floats, such as 255 for values that should be 0 to 255.
        reversed: whether the three channels, axis 1, of arrays of floats are reversed.

    Raises:
        DatasetError: the order is no permutation, or the factor is not positive and finite.
    """

    class_order: tuple[int, ...] = ()
    factor: float = 1.0
    reversed: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        if sorted(self.class_order) != list(range(len(self.class_order))):
            raise DatasetError(
                f"class_order must hold each class from 0 on once, got {self.class_order[:20]}."
            )
        if not 0 < self.factor < math.inf:
            raise DatasetError(f"factor must be positive and finite, got {self.factor}.")

    @property
    def description(self) -> str:
        """What is put right, in words."""
        parts = []
        if self.class_order:
            parts.append("the order of the classes")
        if self.factor != 1.0:
            parts.append(f"arrays of floats times {self.factor:.4g}")
        if self.reversed:
            parts.append("red and blue of arrays of floats swapped")
        return ", ".join(parts) or "nothing"

    @classmethod
    def from_dict(cls, value: object) -> "Corrections":
        """Return the corrections in a JSON object; absent keys keep the defaults.

        Raises:
            DatasetError: no object, an unknown key, or a value of another type.
        """
        if not isinstance(value, dict) or not value.keys() <= {"class_order", "factor", "reversed"}:
            raise DatasetError(
                f"corrections must hold class_order, factor or reversed, got {str(value)[:80]}."
            )
        order, factor, turned = (
            value.get(name, default)
            for name, default in (("class_order", []), ("factor", 1.0), ("reversed", False))
        )
        whole = isinstance(order, list) and all(type(one) is int for one in order)
        if not whole or type(factor) not in (int, float) or not isinstance(turned, bool):
            raise DatasetError(
                "corrections must hold class_order as a list of whole numbers, factor as a number, "
                f"and reversed as true or false, got {str(value)[:80]}."
            )
        return cls(tuple(order), float(factor), turned)

    def correct_labels(self, labels: Tensor | None) -> Tensor | None:
        """Return labels (N,) as classes of the network.

        Raises:
            DatasetError: a label is not in the order.
        """
        if labels is None or not self.class_order:
            return labels
        if int(labels.max()) >= len(self.class_order):
            raise DatasetError(
                f"class_order must hold each label of the data, got {len(self.class_order)} "
                f"classes and the label {int(labels.max())}."
            )
        return torch.tensor(self.class_order)[labels]

    def names_of_outputs(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of labels in the order of the network's outputs."""
        if len(self.class_order) != len(names):
            return names
        by_output = dict(zip(self.class_order, names, strict=True))
        return tuple(by_output[place] for place in range(len(names)))

    def correct_floats(self, values: Tensor) -> Tensor:
        """Return floats of shape (N, ...), multiplied and with reversed channels."""
        scaled = values if self.factor == 1.0 else values * self.factor
        return scaled.flip(1) if self.reversed and scaled.dim() == 4 else scaled


class ImageSource(Protocol):
    """The origin of a dataset's images; opening a source reads no pixels."""

    def read(self, indices: Sequence[int]) -> tuple[Inputs, Tensor | None]:
        """Return (inputs (n, C, H, W), labels (n,) or None) of the given images, in order."""


@dataclass(frozen=True)
class Dataset:
    """Images in a fixed order, read batch by batch: memory does not grow with the number.

    Attributes:
        name: name of the dataset on a page.
        source: reads images by index.
        indices: the source's images in the dataset, in order.
        labelled: whether every image has a label.
        class_names: the name of each model output, or empty if unknown.
        source_digest: gives and remembers the digest of the whole source: files are read once.
        largest_label: the largest label for unknown names, else -1.
    """

    name: str
    source: ImageSource
    indices: tuple[int, ...]
    labelled: bool
    class_names: tuple[str, ...]
    source_digest: Callable[[], str]
    largest_label: int = -1

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.indices)

    @property
    def digest(self) -> str:
        """A SHA-256 over the content, the preprocessing and the choice of images.

        Equal digests mean equal batches, on every machine; a folder is read once for the digest.
        """
        choice = np.asarray(self.indices, np.int64).tobytes()
        return hashlib.sha256(self.source_digest().encode() + choice).hexdigest()

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the images in order, `size` at a time; the last batch may be smaller.

        Raises:
            DatasetError: size below 1, or an unreadable image (the sentence names the image).
        """
        if size < 1:
            raise DatasetError(f"A batch must hold at least 1 image, got {size}.")
        for start in range(0, len(self), size):
            chosen = self.indices[start : start + size]
            inputs, labels = self.source.read(chosen)
            if (corrections := self.corrections) is not None:
                labels = corrections.correct_labels(labels)
            yield Batch(inputs, labels, chosen, self._targets_or_labels(chosen, labels))

    @property
    def noun(self) -> str:
        """What an item is, in a word: a row of a table, or an image."""
        table = getattr(getattr(self.source, "preprocess", None), "table", None)
        return "image" if table is None else "row"

    @property
    def corrections(self) -> Corrections | None:
        """What the preprocessing of the source puts right; None for nothing."""
        found = getattr(getattr(self.source, "preprocess", None), "corrections", None)
        return found if isinstance(found, Corrections) else None

    def _targets_or_labels(self, chosen: tuple[int, ...], labels: Tensor | None) -> Targets:
        """Return the source's values for comparison, or else the labels, shape (n,)."""
        read = getattr(self.source, "read_targets", None)
        found: Targets = None if read is None else read(chosen)
        return labels if found is None else found

    def subset(self, positions: Sequence[int]) -> "Dataset":
        """Return the images at the positions (0 to len - 1), in the given order.

        Raises:
            DatasetError: a position out of range.
        """
        if wrong := [p for p in positions if not 0 <= p < len(self)]:
            raise DatasetError(
                f"Positions must lie between 0 and {len(self) - 1}, got {wrong[0]}; "
                f"{self.name} holds {len(self)} images."
            )
        chosen = tuple(self.indices[p] for p in positions)
        return dataclasses.replace(self, indices=chosen)

    def first(self, count: int) -> "Dataset":
        """Return the first `count` images, or fewer if the dataset has fewer."""
        return self.subset(range(min(count, len(self))))

    def sample(self, count: int, seed: int = 0) -> "Dataset":
        """Return `count` images drawn without replacement, in the dataset's order."""
        return self.split(count, seed)[0]

    def split(self, calibration: int, seed: int = 0) -> "tuple[Dataset, Dataset]":
        """Return (`calibration` images drawn at random, the rest) without a common image.

        Both keep the dataset's order; a seed gives an equal choice on every machine.

        Raises:
            DatasetError: fewer images than asked for.
        """
        if not 0 <= calibration <= len(self):
            raise DatasetError(
                f"The calibration part must hold 0 to {len(self)} images, got {calibration}; "
                f"{self.name} holds {len(self)}."
            )
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self), generator=generator).tolist()
        chosen, rest = sorted(order[:calibration]), sorted(order[calibration:])
        return self.subset(chosen), self.subset(rest)


def check_class_labels(dataset: Dataset, outputs: int) -> None:
    """Raise DatasetError unless labels of `dataset` can be compared with a model's outputs.

    Args:
        dataset: the data to score.
        outputs: number of the model's logits, the number of classes.
    """
    if not dataset.labelled:
        raise DatasetError(
            f"Accuracy needs labels, got {dataset.name}, which has none; use a folder with one "
            "sub-folder a class, or ask for measures that compare with the float network."
        )
    if dataset.largest_label >= outputs:
        raise DatasetError(
            f"Labels must lie between 0 and {outputs - 1}, the model's outputs, got "
            f"{dataset.largest_label} in {dataset.name}; choose data made for this model."
        )
    classes = len(dataset.class_names)
    if classes not in (0, outputs):
        raise DatasetError(
            f"The data must name as many classes as the model has outputs ({outputs}), got "
            f"{classes} in {dataset.name}; list all {outputs} classes in classes.txt, one folder "
            "name a line in the order of the outputs, or choose data made for this model."
        )
