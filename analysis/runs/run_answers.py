"""What runs of one network answered to the same images: image by image, and class by class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.image_answers import CONFIDENCE_STEPS, count_changes, unpack_numbers
from analysis.evaluation.intervals import paired_interval
from analysis.evaluation.measures import Interval
from analysis.runs.run_store import Run
from quant.errors import QuantError


@dataclass(frozen=True, slots=True)
class ClassAnswer:
    """The class that a network answers, with the share of the class in the output (0 to 1)."""

    place: int
    confidence: float


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image, its true class (None without labels), and the answer of each run."""

    index: int
    label: int | None
    answers: tuple[ClassAnswer, ...]


@dataclass(frozen=True, slots=True)
class ClassChange:
    """The right answers to the images of one class in two runs.

    `lost` is the share of the class's images that is lost, negative for a gain; `interval` is the
    95 % interval of the share, from the pairs.
    """

    place: int
    images: int
    right_before: int
    right_after: int
    interval: Interval

    @property
    def lost(self) -> float:
        """The share of the class's images that is right before and not after, net."""
        return (self.right_before - self.right_after) / self.images


@dataclass(frozen=True, slots=True, eq=False)
class RunAnswers:
    """The answers of a run to N images: arrays of shape (N,); `labels` is None without labels."""

    indices: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    classes: NDArray[np.int64]
    confidences: NDArray[np.float64]
    float_classes: NDArray[np.int64]
    float_confidences: NDArray[np.float64]

    def answer_at(self, row: int) -> ClassAnswer:
        """Return the answer in a row."""
        return ClassAnswer(int(self.classes[row]), float(self.confidences[row]))

    def rows_by_index(self) -> dict[int, tuple[ClassAnswer, ClassAnswer]]:
        """Return the answers of the float and the quantized network to each image."""
        floats = zip(self.float_classes.tolist(), self.float_confidences.tolist(), strict=True)
        return {
            index: (ClassAnswer(*before), self.answer_at(row))
            for row, (index, before) in enumerate(zip(self.indices.tolist(), floats, strict=True))
        }

    def label_at(self, row: int) -> int | None:
        """Return the true class in a row."""
        return None if self.labels is None else int(self.labels[row])


def answers_of_run(run: Run) -> RunAnswers | None:
    """Return the answers of a run; None for an older version's run, or damaged answers."""
    told, count = run.evaluation.answers, run.evaluation.samples
    if told is None or not told.classes:
        return None
    try:
        labels = unpack_numbers(told.labels, count) if told.labels else None
        return RunAnswers(
            unpack_numbers(told.indices, count),
            labels,
            unpack_numbers(told.classes, count),
            unpack_numbers(told.confidences, count) / CONFIDENCE_STEPS,
            unpack_numbers(told.float_classes, count),
            unpack_numbers(told.float_confidences, count) / CONFIDENCE_STEPS,
        )
    except QuantError:
        return None


def answers_of_comparable_runs(runs: Sequence[Run]) -> tuple[RunAnswers, ...]:
    """Return the answers of runs of one network on the same images; empty if that fails."""
    if len({(run.model_digest, run.data_digest) for run in runs}) != 1:
        return ()
    found = [told for run in runs if (told := answers_of_run(run)) is not None]
    same = all(np.array_equal(told.indices, found[0].indices) for told in found)
    return tuple(found) if same and len(found) == len(runs) else ()


def differing_images(runs: Sequence[Run]) -> tuple[ImageRow, ...]:
    """Return the images to which runs of one network and data give different answers.

    Example:
        >>> differing_images([])
        ()
    """
    told = answers_of_comparable_runs(runs)
    if not told:
        return ()
    classes = np.stack([one.classes for one in told])
    rows = np.flatnonzero((classes != classes[0]).any(0))
    return tuple(
        ImageRow(
            int(told[0].indices[row]),
            told[0].label_at(row),
            tuple(one.answer_at(row) for one in told),
        )
        for row in rows.tolist()
    )


def class_changes(before: Run, after: Run) -> tuple[ClassChange, ...]:
    """Return the classes of the images, those that lose most first; empty without labels."""
    told = answers_of_comparable_runs([before, after])
    if not told or told[0].labels is None:
        return ()
    labels = told[0].labels
    old, new = (one.classes == labels for one in told)
    found = []
    for place in np.unique(labels).tolist():
        ours = labels == place
        lost, won = count_changes(old[ours], new[ours])
        interval = paired_interval(lost, won, int(ours.sum()))
        right = int(old[ours].sum()), int(new[ours].sum())
        found.append(ClassChange(place, int(ours.sum()), *right, interval))
    return tuple(sorted(found, key=lambda one: -one.lost))
