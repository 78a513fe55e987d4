"""Random inputs, for questions that do not depend on what is in an image."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from data_io.dataset import Batch


@dataclass(frozen=True)
class RandomImages:
    """`count` normally distributed inputs (N, *shape), the same at every reading."""

    count: int
    shape: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return self.count

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all images, `size` at a time, without labels."""
        generator = torch.Generator().manual_seed(0)
        for start in range(0, self.count, size):
            indices = tuple(range(start, min(start + size, self.count)))
            yield Batch(torch.randn(len(indices), *self.shape, generator=generator), None, indices)
