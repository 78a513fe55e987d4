"""A metric of the user's own, for outputs of which top-1 says nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.measures import Interval
from analysis.evaluation.per_image import mean_interval
from quant.errors import QuantError

MOST_BYTES = 2 * 1024**3
"""Of outputs that are held at once for a metric that gives one number for all images."""


class UserMetric(Protocol):
    """A function (outputs, targets) of the user's: a number for each image, or one for all.

    `outputs` is a tensor (N, ...), a tuple for several outputs; `targets` what the data holds
    besides the inputs: labels (N,), a tensor, or a dict of them. What it raises is a QuantError
    that names the function and the line.
    """

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is better."""

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """Return the value, or one for each image."""


@dataclass(frozen=True, slots=True)
class MetricScore:
    """A metric of float and quantized network on the same images.

    `change` is quantized minus float. Intervals of 95 % (bootstrap over images, that of the change
    paired) are None where the metric gives one number for all images.
    """

    name: str
    higher_is_better: bool
    float_value: float
    quantized_value: float
    change: float
    float_ci95: Interval | None = None
    quantized_ci95: Interval | None = None
    change_ci95: Interval | None = None

    @property
    def loss(self) -> float:
        """How much worse the quantized network is, in the metric's unit."""
        return -self.change if self.higher_is_better else self.change


class MetricTally:
    """A metric that is computed as images come, or at their end where it needs all at once."""

    def __init__(self, metric: UserMetric) -> None:
        self.metric = metric
        self._values: tuple[list[NDArray[np.float64]], ...] = ([], [])
        self._held: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...], Any]] = []
        self._bytes = 0
        self._whole = False

    def add(self, references: Sequence[Tensor], outputs: Sequence[Tensor], targets: Any) -> None:
        """Take in the outputs (N, ...) of the float and the quantized network.

        Raises:
            QuantError: the function fails, or gives something else than numbers.
        """
        both = tuple(references), tuple(outputs)
        if not self._whole:
            found = [self._ask(some, targets) for some in both]
            if all(values.shape == (len(references[0]),) for values in found):
                for values, new in zip(self._values, found, strict=True):
                    values.append(new)
                return
            self._check_first(found, len(references[0]))
            self._whole = True
        self._bytes += sum(tensor.nbytes for some in both for tensor in some)
        if self._bytes > MOST_BYTES:
            raise QuantError(
                f"A metric that gives one number for all images needs their outputs at once, at "
                f"most {MOST_BYTES // 1024**2} MiB; {self.metric.name} got more. Return one number "
                "for each image, or score on fewer."
            )
        self._held.append((*both, targets))

    def _ask(self, outputs: tuple[Tensor, ...], targets: Any) -> NDArray[np.float64]:
        # a function may write into what it gets
        given = tuple(output.clone() for output in outputs)
        found = self.metric(given[0] if len(given) == 1 else given, _copy(targets))
        try:
            values = np.asarray(found, dtype=np.float64)
        except (TypeError, ValueError):
            values = np.asarray(np.nan)
        if not np.isfinite(values).all():
            raise QuantError(
                f"A metric must give finite numbers; {self.metric.name} gave "
                f"{str(found)[:80]!r}. Correct the function."
            )
        return values

    def _check_first(self, found: list[NDArray[np.float64]], count: int) -> None:
        wrong = next((values for values in found if values.ndim), None)
        if wrong is not None or self._values[0]:
            got = "one number" if wrong is None else f"an array {wrong.shape}"
            raise QuantError(
                f"A metric must give one number for each of {count} images, or always one for all; "
                f"{self.metric.name} gave {got}. Correct the function."
            )

    def result(self) -> MetricScore:
        """Return the values of both networks and their difference.

        Raises:
            QuantError: as `add`.
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
        found = []
        for parts in self._values:
            values = np.concatenate(parts)
            found.append((float(values.mean()), mean_interval(values)))
        return found

    def _whole_values(self) -> list[tuple[float, Interval | None]]:
        targets = _joined([held[2] for held in self._held])
        found: list[tuple[float, Interval | None]] = []
        for side in (0, 1):
            parts = zip(*(held[side] for held in self._held), strict=True)
            outputs = tuple(torch.cat(list(tensors)) for tensors in parts)
            found.append((float(self._ask(outputs, targets)), None))
        return found


def _copy(targets: Any) -> Any:
    if isinstance(targets, dict):
        return {name: value.clone() for name, value in targets.items()}
    return None if targets is None else targets.clone()


def _joined(targets: list[Any]) -> Any:
    first = targets[0]
    if first is None:
        return None
    if isinstance(first, dict):
        return {name: torch.cat([some[name] for some in targets]) for name in first}
    return torch.cat(targets)
