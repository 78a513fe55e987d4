"""Regression: mean absolute error, with RMSE and R2 beside it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.tasks.task_metric import Weights
from analysis.evaluation.user_metric import Targets
from quant.errors import QuantError


class ErrorEvidence:
    """Sums over the numbers of each image: count, |e|, e squared, y, y squared; (N, 5)."""

    def __init__(self) -> None:
        self._sums: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        """Return the number of images."""
        return sum(len(part) for part in self._sums)

    def add(self, outputs: Sequence[Tensor], targets: Targets) -> None:
        """Add predictions of shape (N, ...), and true values of equal shape."""
        found = outputs[0]
        if not isinstance(targets, Tensor) or targets.numel() != found.numel():
            shape = tuple(targets.shape) if isinstance(targets, Tensor) else "none"
            raise QuantError(
                f"Regression needs a true value for each number of the output; got outputs "
                f"{tuple(found.shape)} and targets {shape}. Give targets of that shape."
            )
        truth = targets.reshape(len(found), -1).double()
        error = found.reshape(len(found), -1).double() - truth
        sums = [(error**0), error.abs(), error**2, truth, truth**2]
        self._sums.append(np.stack([one.sum(1).numpy() for one in sums], 1))

    def _total(self, weights: Weights) -> NDArray[np.float64]:
        total: NDArray[np.float64] = weights @ np.concatenate(self._sums)
        return total

    def score(self, weights: Weights) -> float:
        """Return the mean absolute error."""
        count, absolute = self._total(weights)[:2]
        return float(absolute / count)

    def parts(self) -> dict[str, float]:
        """Return RMSE and R2 over all numbers together."""
        count, _, squares, truth, truth_squares = self._total(np.ones(len(self)))
        spread = truth_squares - truth**2 / count
        found = {"RMSE": float(np.sqrt(squares / count))}
        if spread > 0:
            found["R2"] = float(1 - squares / spread)
        return found
