"""The metric of a task: evidence of each image, and a score for any weighting of images.

The score of a task such as mAP is no mean over images. Therefore evidence is stored image by image,
and a bootstrap over images weighs the evidence anew; both networks use equal resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.measures import Interval
from analysis.evaluation.per_image import MIN_IMAGES, RESAMPLES, resample_counts
from analysis.evaluation.user_metric import MetricPart, MetricScore, Targets

Weights = NDArray[np.float64]
"""How often each image (N,) counts."""


class TaskEvidence(Protocol):
    """The evidence in the answers of one network, image by image."""

    def add(self, outputs: Sequence[Tensor], targets: Targets) -> None:
        """Add the outputs of a batch, of shape (N, ...).

        Raises:
            QuantError: outputs or targets do not fit the task.
        """

    def __len__(self) -> int:
        """Return the number of images."""

    def score(self, weights: Weights) -> float:
        """Return the metric with image i counted `weights[i]` times."""

    def parts(self) -> dict[str, float]:
        """Return further scores by name, such as a score for each class."""


@dataclass(frozen=True, slots=True)
class TaskMetric:
    """A task and its metric.

    Attributes:
        task: the name of the task, such as "segmentation".
        name: the name of the metric on screen, such as "mIoU".
        higher_is_better: whether a larger value is better.
        collect: makes empty evidence.
        resamples: of the bootstrap; fewer where a score is costly.
        share: whether the metric is a share of 1, told in points of 100.
    """

    task: str
    name: str
    higher_is_better: bool
    collect: Callable[[], TaskEvidence]
    resamples: int = RESAMPLES
    share: bool = True

    @property
    def identity(self) -> str:
        """The task and the metric, with what `collect` depends on."""
        return f"{self.task} {self.name} {getattr(self.collect, 'args', ())}"


class TaskTally:
    """The evidence of the float and of the quantized network on equal images."""

    def __init__(self, metric: TaskMetric) -> None:
        self.metric = metric
        self._both = metric.collect(), metric.collect()

    def add_outputs(
        self, references: Sequence[Tensor], outputs: Sequence[Tensor], targets: Targets
    ) -> None:
        """Add the outputs of both networks, of shape (N, ...).

        Raises:
            QuantError: outputs or targets do not fit the task.
        """
        for evidence, group in zip(self._both, (references, outputs), strict=True):
            evidence.add(group, targets)

    def metric_result(self) -> MetricScore:
        """Return both scores and the paired difference, with intervals of 95 %."""
        before, after = self._both
        ones = np.ones(len(before))
        values = before.score(ones), after.score(ones)
        drawn = self._resampled() if len(before) >= MIN_IMAGES else None
        ends = [None] * 3 if drawn is None else [_ends(row) for row in drawn]
        old, new = before.parts(), after.parts()
        return MetricScore(
            name=self.metric.name,
            higher_is_better=self.metric.higher_is_better,
            float_value=values[0],
            quantized_value=values[1],
            change=values[1] - values[0],
            float_ci95=ends[0],
            quantized_ci95=ends[1],
            change_ci95=ends[2],
            share=self.metric.share,
            task=self.metric.task,
            parts=tuple(MetricPart(name, old[name], new[name]) for name in old if name in new),
        )

    def _resampled(self) -> NDArray[np.float64]:
        """Return both scores and the difference in each resample, (3, R)."""
        before, after = self._both
        counts = resample_counts(len(before))[: self.metric.resamples]
        scores = np.array([[side.score(row) for row in counts] for side in (before, after)])
        return np.concatenate([scores, scores[1:] - scores[:1]])


def _ends(values: NDArray[np.float64]) -> Interval | None:
    """Return the 2.5 % and 97.5 % points of resamples; None where a resample has no score."""
    if not np.isfinite(values).all():
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))
