"""A user's own metric, for outputs beyond top-1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.measures import Interval
from analysis.evaluation.per_image import mean_interval
from quant.errors import QuantError
from quant.inputs import Outputs

Targets = Tensor | dict[str, Tensor] | None

MAX_HELD_BYTES = 2 * 1024**3
"""The most bytes of outputs held at once for a metric that returns one number for all images."""


class UserMetric(Protocol):
    """A user's function (outputs, targets) with one number per image or one for the whole data.

    `outputs` is a tensor (N, ...), or a tuple for several outputs. `targets` are the labels (N,), a
    tensor, or a dict of tensors from the data. An error of the function arrives as a QuantError
    with the function and the line.
    """

    @property
    def name(self) -> str:
        """The name of the metric on screen."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is better."""

    def __call__(self, outputs: Outputs, targets: Targets) -> object:
        """Return one value for the images together, or values (N,) for each image."""


@dataclass(frozen=True, slots=True)
class MetricPart:
    """A further score of both networks, such as that of one class."""

    name: str
    float_value: float
    quantized_value: float


@dataclass(frozen=True, slots=True)
class MetricScore:
    """A metric of the float and the quantized network on equal images.

    `change` is quantized minus float. `share` marks a metric from 0 to 1, told in points of 100;
    `task` names the task of the metric.
    Intervals are 95 % bootstrap intervals over images, paired
    for the change; None for a metric with one number for the whole data. `parts` are further
    scores of a task, such as one for each class.
    """

    name: str
    higher_is_better: bool
    float_value: float
    quantized_value: float
    change: float
    float_ci95: Interval | None = None
    quantized_ci95: Interval | None = None
    change_ci95: Interval | None = None
    parts: tuple[MetricPart, ...] = ()
    share: bool = False
    task: str = ""

    @property
    def metric_loss(self) -> float:
        """The deterioration of the metric by quantization, in the unit of the metric."""
        return -self.change if self.higher_is_better else self.change


class MetricTally:
    """A metric computed batch by batch, or at the end for a metric of the whole data."""

    def __init__(self, metric: UserMetric) -> None:
        self.metric = metric
        self._values: tuple[list[NDArray[np.float64]], ...] = ([], [])
        self._stored: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...], Targets]] = []
        self._bytes = 0
        self._whole = False

    def add_outputs(
        self, references: Sequence[Tensor], outputs: Sequence[Tensor], targets: Targets
    ) -> None:
        """Add the outputs of the float and the quantized network, of shape (N, ...).

        Raises:
            QuantError: the function fails, or returns no finite numbers.
        """
        both = tuple(references), tuple(outputs)
        if not self._whole:
            results = [self._call_metric(group, targets) for group in both]
            if all(values.shape == (len(references[0]),) for values in results):
                for values, new in zip(self._values, results, strict=True):
                    values.append(new)
                return
            self._check_first_result(results, len(references[0]))
            self._whole = True
        self._bytes += sum(tensor.nbytes for group in both for tensor in group)
        if self._bytes > MAX_HELD_BYTES:
            raise QuantError(
                f"A metric that gives one number for all needs all outputs at once, at most "
                f"{MAX_HELD_BYTES // 1024**2} MiB; {self.metric.name} got more. Return one number "
                "for each image or row, or score fewer."
            )
        self._stored.append((*both, targets))

    def _call_metric(self, outputs: tuple[Tensor, ...], targets: Targets) -> NDArray[np.float64]:
        # A user's function may write into its arguments, hence copies.
        copies = tuple(output.clone() for output in outputs)
        answer = self.metric(copies[0] if len(copies) == 1 else copies, _copy_targets(targets))
        try:
            values = np.asarray(answer, dtype=np.float64)
        except (TypeError, ValueError):
            values = np.asarray(np.nan)
        if not np.isfinite(values).all():
            raise QuantError(
                f"A metric must give finite numbers; {self.metric.name} gave "
                f"{str(answer)[:80]!r}. Correct the function."
            )
        return values

    def _check_first_result(self, results: list[NDArray[np.float64]], count: int) -> None:
        wrong = next((values for values in results if values.ndim), None)
        if wrong is not None or self._values[0]:
            got = "one number" if wrong is None else f"an array {wrong.shape}"
            raise QuantError(
                f"A metric must give one number for each of {count} images, or always one for all; "
                f"{self.metric.name} gave {got}. Correct the function."
            )

    def metric_result(self) -> MetricScore:
        """Return the values of both networks and the difference.

        Raises:
            QuantError: the function fails on the whole data, or returns no finite numbers.
        """
        before, after = self._whole_values() if self._whole else self._mean_values()
        values = before[0], after[0]
        change = None
        if not self._whole:
            each = [np.concatenate(parts) for parts in self._values]
            change = mean_interval(each[1] - each[0])
        return MetricScore(
            name=self.metric.name,
            higher_is_better=self.metric.higher_is_better,
            float_value=values[0],
            quantized_value=values[1],
            change=values[1] - values[0],
            float_ci95=before[1],
            quantized_ci95=after[1],
            change_ci95=change,
        )

    def _mean_values(self) -> list[tuple[float, Interval | None]]:
        means = []
        for parts in self._values:
            values = np.concatenate(parts)
            means.append((float(values.mean()), mean_interval(values)))
        return means

    def _whole_values(self) -> list[tuple[float, Interval | None]]:
        targets = _join_targets([stored[2] for stored in self._stored])
        wholes: list[tuple[float, Interval | None]] = []
        for side in (0, 1):
            parts = zip(*(stored[side] for stored in self._stored), strict=True)
            outputs = tuple(torch.cat(list(tensors)) for tensors in parts)
            wholes.append((float(self._call_metric(outputs, targets)), None))
        return wholes


def _copy_targets(targets: Targets) -> Targets:
    if isinstance(targets, dict):
        return {name: value.clone() for name, value in targets.items()}
    return None if targets is None else targets.clone()


def _join_targets(targets: list[Targets]) -> Targets:
    first = targets[0]
    dicts = [part for part in targets if isinstance(part, dict)]
    tensors = [part for part in targets if isinstance(part, Tensor)]
    if isinstance(first, dict):
        return {name: torch.cat([part[name] for part in dicts]) for name in first}
    return None if first is None else torch.cat(tensors)
