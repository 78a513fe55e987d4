"""Anomalies: the area under the ROC curve, the chance that an anomaly scores higher."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.tasks.task_metric import Weights
from analysis.evaluation.user_metric import Targets
from quant.errors import QuantError


class AnomalyEvidence:
    """The score of each image and whether the image is an anomaly."""

    def __init__(self) -> None:
        self._scores: list[NDArray[np.float64]] = []
        self._labels: list[NDArray[np.bool_]] = []

    def __len__(self) -> int:
        """Return the number of images."""
        return sum(len(part) for part in self._scores)

    def add(self, outputs: Sequence[Tensor], targets: Targets) -> None:
        """Add scores (N,) or (N, 1), or logits (N, 2), and labels (N,), 1 for an anomaly."""
        found = outputs[0].reshape(len(outputs[0]), -1).double()
        labels = targets.reshape(-1) if isinstance(targets, Tensor) else None
        known = labels is not None and len(labels) == len(found)
        if found.shape[1] > 2 or labels is None or not known or not set(labels.tolist()) <= {0, 1}:
            raise QuantError(
                f"Anomalies need one score or two logits an image and labels 0 or 1; got outputs "
                f"{tuple(outputs[0].shape)}. Choose another task, or data with such labels."
            )
        scores = found[:, -1] - found[:, 0] if found.shape[1] == 2 else found[:, 0]
        self._scores.append(scores.numpy())
        self._labels.append(labels.bool().numpy())

    def score(self, weights: Weights) -> float:
        """Return the AUC; equal scores count half. NaN where one kind of image is missing."""
        scores, anomalous = np.concatenate(self._scores), np.concatenate(self._labels)
        values, places = np.unique(scores, return_inverse=True)
        high = np.bincount(places, weights * anomalous, len(values))
        low = np.bincount(places, weights * ~anomalous, len(values))
        below = np.cumsum(low) - low
        pairs = high.sum() * low.sum()
        return float((high * (below + low / 2)).sum() / pairs) if pairs > 0 else float("nan")

    def parts(self) -> dict[str, float]:
        """Return nothing more."""
        return {}
