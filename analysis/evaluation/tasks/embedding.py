"""Embeddings: whether the nearest other image has the same label (recall at 1)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.evaluation.tasks.task_metric import Weights
from analysis.evaluation.user_metric import Targets
from quant.errors import QuantError

BLOCK = 1024
"""Images whose similarities to all others are held at once."""


class NeighbourEvidence:
    """The embeddings (N, D) of all images and their labels (N,)."""

    def __init__(self) -> None:
        self._embeddings: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._hits: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return sum(len(part) for part in self._labels)

    def add(self, outputs: Sequence[Tensor], targets: Targets) -> None:
        """Add embeddings (N, ...) and labels (N,)."""
        if not isinstance(targets, Tensor) or targets.numel() != len(outputs[0]):
            raise QuantError(
                "Embeddings need a label for each image; got none. Choose data with labels."
            )
        self._embeddings.append(F.normalize(outputs[0].reshape(len(outputs[0]), -1).float(), dim=1))
        self._labels.append(targets.reshape(-1))
        self._hits = None

    def score(self, weights: Weights) -> float:
        """Return the share of images whose nearest other image, by cosine, has their label."""
        if self._hits is None:
            self._hits = self._find_hits()
        return float((self._hits.numpy() * weights).sum() / weights.sum())

    def _find_hits(self) -> Tensor:
        """Return whether (N,) the nearest other image has the same label."""
        embeddings, labels = torch.cat(self._embeddings), torch.cat(self._labels)
        nearest = []
        for start in range(0, len(embeddings), BLOCK):
            similar = embeddings[start : start + BLOCK] @ embeddings.T
            rows = torch.arange(len(similar))
            similar[rows, rows + start] = -torch.inf
            nearest.append(similar.argmax(1))
        return (labels[torch.cat(nearest)] == labels).double()

    def parts(self) -> dict[str, float]:
        """Return nothing more."""
        return {}
