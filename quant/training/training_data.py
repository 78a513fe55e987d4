"""Data and progress of the training loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from quant.inputs import Inputs
from quant.progress import Progress
from quant.training.state.trained_state import CurvePoint


class TrainingData(Protocol):
    """Training images, read by places; pure in places and generator."""

    def __len__(self) -> int:
        """Return the number of images."""

    def take(
        self, places: Sequence[int], generator: torch.Generator | None
    ) -> tuple[Inputs, Tensor | None]:
        """Return (inputs (N, ...), labels (N,) or targets or None); augmented with a generator."""


Watched = Sequence[tuple[Inputs, Tensor | None]]
"""Batches of images that are watched: their loss tells when to stop and which state is best."""


@dataclass(frozen=True, slots=True)
class TrainingProgress(Progress):
    """Progress of a training, with the newest point of the curve."""

    point: CurvePoint | None = None
