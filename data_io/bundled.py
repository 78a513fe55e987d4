"""The data of the project: Fashion-MNIST images and the Letter Recognition table."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_io.arrays import ArraySource
from data_io.dataset import Dataset
from data_io.fashion_files import COUNTS, DIGESTS, bundled_file_of, unpack_images
from data_io.letter_files import (
    LETTER_DIGEST,
    LETTERS,
    TRAINING_ROWS,
    letter_columns,
    read_bundled_letters,
)
from data_io.preprocessing import Preprocess
from data_io.scenes.scene_data import open_scenes

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MASK_NAMES = ("canvas", *CLASS_NAMES)
# Mean and standard deviation of the training set, on the scale of the pixels; as in train.py.
FASHION = Preprocess(channels=1, mean=(0.2860 * 255,), std=(0.3530 * 255,))


@dataclass(frozen=True)
class MemorySource:
    """Images uint8 (N, 1, H, W) and labels (N,) in memory: 8 to 10 MB for Fashion-MNIST."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    preprocess: Preprocess

    def read(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return (float32 inputs (N, 1, 28, 28), int64 labels (N,))."""
        chosen = list(indices)
        labels = torch.from_numpy(self.labels[chosen]).long()
        return self.preprocess.scale_pixels(torch.from_numpy(self.images[chosen])), labels


@dataclass(frozen=True, slots=True)
class BundledData:
    """Data of the project: a scored part, and a part for training and calibration.

    Attributes:
        title: name of the scored part on a page.
        test: opens the labelled items to score.
        train: opens other labelled items, of the training set.
        pixels: whether the items are images of 8 bits.
    """

    title: str
    test: Callable[[], Dataset]
    train: Callable[[], Dataset]
    pixels: bool


def fashion_test_set() -> Dataset:
    """Return the whole test set: 10 000 labelled images, the base of cited float accuracy."""
    return _open_bundled_split("test", "Fashion-MNIST test set")


def fashion_train_part() -> Dataset:
    """Return 12 000 labelled images of the training set, 1 200 a class, to calibrate with."""
    return _open_bundled_split("train-part", "Fashion-MNIST, part of the training set")


@cache
def _read_bundled_images(split: str) -> MemorySource:
    """Return the images of a bundled file, unpacked once a process."""
    images, labels = unpack_images(bundled_file_of(split).read_bytes(), COUNTS[split])
    return MemorySource(images[:, None], labels, FASHION)


def _open_bundled_split(split: str, name: str) -> Dataset:
    """Return a bundled split as a dataset."""
    source = _read_bundled_images(split)
    return Dataset(
        name=name,
        source=source,
        indices=tuple(range(COUNTS[split])),
        labelled=True,
        class_names=CLASS_NAMES,
        source_digest=partial(_digest_of_split, split, source.preprocess),
    )


def _digest_of_split(split: str, preprocess: Preprocess) -> str:
    """Return a digest of the split's known content and the preprocessing."""
    return hashlib.sha256((DIGESTS[split] + preprocess.to_json()).encode()).hexdigest()


@cache
def letter_preprocess() -> Preprocess:
    """Return the standardisation of the Letter Recognition table, over the training rows."""
    return Preprocess(table=letter_columns())


def letter_test() -> Dataset:
    """Return the last 4 000 rows of the Letter Recognition table, the base of float accuracy."""
    return _letter_split_dataset("test", "Letter Recognition, test rows")


def letter_train() -> Dataset:
    """Return the first 16 000 rows of the Letter Recognition table, to train and calibrate with."""
    return _letter_split_dataset("train", "Letter Recognition, training rows")


@cache
def _letter_split_source(split: str) -> ArraySource:
    """Return the rows of a split, in memory: 0.3 MB."""
    rows, labels = read_bundled_letters()
    part = slice(TRAINING_ROWS) if split == "train" else slice(TRAINING_ROWS, None)
    return ArraySource(rows[part], labels[part].astype(np.int64), letter_preprocess())


def _letter_split_dataset(split: str, name: str) -> Dataset:
    """Return a split of the Letter Recognition table as a dataset."""
    source = _letter_split_source(split)
    known = f"{LETTER_DIGEST} {split} {source.preprocess.to_json()}"
    return Dataset(
        name=name,
        source=source,
        indices=tuple(range(len(source.inputs))),
        labelled=True,
        class_names=LETTERS,
        source_digest=lambda: hashlib.sha256(known.encode()).hexdigest(),
    )


BUNDLED_DATA = {
    "fashion": BundledData(
        "Fashion-MNIST test set", fashion_test_set, fashion_train_part, pixels=True
    ),
    "fashion-boxes": BundledData(
        "Fashion scenes with boxes",
        partial(open_scenes, "test", CLASS_NAMES, masks=False),
        partial(open_scenes, "train-part", CLASS_NAMES, masks=False),
        pixels=True,
    ),
    "fashion-masks": BundledData(
        "Fashion scenes with masks",
        partial(open_scenes, "test", MASK_NAMES, masks=True),
        partial(open_scenes, "train-part", MASK_NAMES, masks=True),
        pixels=True,
    ),
    "letter": BundledData("Letter Recognition test rows", letter_test, letter_train, pixels=False),
}
"""All data that come with the project, by the name that a sample's `dataset` says."""
