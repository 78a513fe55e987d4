"""The Fashion-MNIST images that come with the project, as datasets."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_io.dataset import Dataset
from data_io.fashion_files import COUNTS, DIGESTS, file_of, unpack
from data_io.preprocessing import Preprocess

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
        return self.preprocess.scale(torch.from_numpy(self.images[chosen])), labels


def fashion_test() -> Dataset:
    """Return the whole test set: 10 000 labelled images; their float accuracy is what is cited."""
    return _open("test", "Fashion-MNIST test set")


def fashion_train_part() -> Dataset:
    """Return 12 000 labelled images of the training set, 1 200 a class, to calibrate with."""
    return _open("train-part", "Fashion-MNIST, part of the training set")


@cache
def _read(split: str) -> MemorySource:
    """Return the images of a bundled file, unpacked once a process."""
    images, labels = unpack(file_of(split).read_bytes(), COUNTS[split])
    return MemorySource(images[:, None], labels, FASHION)


def _open(split: str, name: str) -> Dataset:
    """Return a bundled split as a dataset."""
    source = _read(split)
    return Dataset(
        name=name,
        source=source,
        indices=tuple(range(COUNTS[split])),
        labelled=True,
        class_names=CLASS_NAMES,
        source_digest=partial(_digest, split, source.preprocess),
    )


def _digest(split: str, preprocess: Preprocess) -> str:
    """Return a digest of the split's known content and the preprocessing."""
    return hashlib.sha256((DIGESTS[split] + preprocess.to_json()).encode()).hexdigest()
