"""Detection: the mean average precision of COCO over overlaps of 0.50 to 0.95, and at 0.50."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.evaluation.tasks.boxes import Detections, decode, overlaps
from analysis.evaluation.tasks.kinds import Head
from analysis.evaluation.tasks.task_metric import Weights
from analysis.evaluation.user_metric import Targets
from quant.errors import QuantError

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
SIZES = {
    "mAP small": (0.0, 32.0**2),
    "mAP medium": (32.0**2, 96.0**2),
    "mAP large": (96.0**2, 1e10),
}
"""COCO's bounds of the area of a box, here in pixels of the network's input (our choice)."""
NO_BOX = -1
"""The class in a row of targets that holds no box."""


@dataclass(frozen=True, eq=False, slots=True)
class _ClassRows:
    """All detections of one class: scores (D,), image (D,), hits and ignored (D, T)."""

    scores: NDArray[np.float64]
    images: NDArray[np.int64]
    hits: NDArray[np.bool_]
    ignored: NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class _ClassPairs:
    """The D found and G true boxes of one class in one image.

    Scores (D,), the best first; overlaps (D, G); which labels are crowds (G,); areas (D,) and (G,)
    in pixels.
    """

    label: int
    image: int
    scores: NDArray[np.float64]
    overlap: NDArray[np.float32]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]
    truth_areas: NDArray[np.float64]

    def matched_rows(self, bounds: tuple[float, float] | None = None) -> _ClassRows:
        """Return the rows; objects outside the bounds of the area, in pixels, count neither way."""
        strange = self.crowd
        if bounds is not None:
            strange = strange | (self.truth_areas < bounds[0]) | (self.truth_areas > bounds[1])
        hits, ignored = match_boxes(self.overlap, self.crowd, strange)
        if bounds is not None:
            outside = (self.areas < bounds[0]) | (self.areas > bounds[1])
            ignored |= ~hits & outside[:, None]
        return _ClassRows(self.scores, np.full(len(self.scores), self.image), hits, ignored)


def _areas(boxes: Tensor) -> NDArray[np.float64]:
    """Return the areas (M,) of corners (M, 4)."""
    found: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).double().numpy()
    return found


class BoxEvidence:
    """The boxes of each image, matched to those of the labels at each overlap.

    `size` is (height, width) of the network's input in pixels; `priors` (M, 4) those of an SSD.
    """

    def __init__(self, head: Head, size: tuple[int, int], priors: Tensor | None = None) -> None:
        self.head, self.size, self.priors = head, size, priors
        self._pairs: list[_ClassPairs] = []
        self._images = 0
        self._rows: dict[int, list[_ClassRows]] = {}
        self._truths: dict[int, dict[int, int]] = {}
        self._truth_areas: dict[int, list[tuple[int, float]]] = {}
        self._sorted: dict[int, _ClassRows] | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return self._images

    def add(self, outputs: Sequence[Tensor], targets: Targets) -> None:
        """Add a detector's outputs (N, ...), and targets with boxes (N, M, 4), classes (N, M).

        Boxes are corners in pixels of the network's input; class -1 is no box. `crowd` (N, M) is
        1 for a box around many objects.
        """
        if not isinstance(targets, dict) or not {"boxes", "classes"} <= set(targets):
            raise QuantError(
                "Detection needs targets.boxes (N, M, 4) and targets.classes (N, M); got others. "
                "Name a COCO file with --targets, or write these arrays into the .npz."
            )
        boxes, classes = targets["boxes"].float(), targets["classes"].long()
        crowd = targets.get("crowd", torch.zeros_like(classes)).bool()
        for found, corners, labels, many in zip(
            decode(outputs, self.head, self.size, self.priors), boxes, classes, crowd, strict=True
        ):
            real = labels != NO_BOX
            self._add_image(found, corners[real], labels[real], many[real])
        self._sorted = None

    def _add_image(self, found: Detections, corners: Tensor, labels: Tensor, crowd: Tensor) -> None:
        """Match the boxes of one image, class by class; corners have the shape (M, 4)."""
        present = set(labels.tolist()) | set(found.classes.tolist())
        for label in present:
            mine, own = found.classes == label, labels == label
            truths = int((own & ~crowd).sum())
            if truths:
                self._truths.setdefault(label, {})[self._images] = truths
                areas = _areas(corners[own & ~crowd]).tolist()
                held = self._truth_areas.setdefault(label, [])
                held += [(self._images, area) for area in areas]
            if not bool(mine.any()):
                continue
            pairs = _ClassPairs(
                label,
                self._images,
                found.scores[mine].double().numpy(),
                overlaps(found.boxes[mine], corners[own], crowd[own]).numpy(),
                crowd[own].numpy(),
                _areas(found.boxes[mine]),
                _areas(corners[own]),
            )
            self._pairs.append(pairs)
            self._rows.setdefault(label, []).append(pairs.matched_rows())
        self._images += 1

    def score(self, weights: Weights) -> float:
        """Return the mean average precision over classes and overlaps of 0.50 to 0.95."""
        return _mean(self._precisions(weights))

    def parts(self) -> dict[str, float]:
        """Return the precision at an overlap of 0.50, and that of each class."""
        found = self._precisions(np.ones(self._images))
        at_half = _mean({label: values[:1] for label, values in found.items()})
        single = {f"class {label}": float(values.mean()) for label, values in found.items()}
        return {"mAP50": at_half, **self._precisions_by_size(), **single}

    def _precisions_by_size(self) -> dict[str, float]:
        """Return the precision of small, medium and large boxes, of those that occur."""
        found = {}
        for name, bounds in SIZES.items():
            sized = BoxEvidence(self.head, self.size)
            sized._images = self._images
            for label, truths in self._truth_areas.items():
                counts: dict[int, int] = {}
                for image, area in truths:
                    counts[image] = counts.get(image, 0) + (bounds[0] <= area <= bounds[1])
                if any(counts.values()):
                    sized._truths[label] = counts
            for pairs in self._pairs:
                rows = pairs.matched_rows(bounds)
                sized._rows.setdefault(pairs.label, []).append(rows)
            if sized._truths:
                found[name] = sized.score(np.ones(self._images))
        return found

    def _precisions(self, weights: Weights) -> dict[int, NDArray[np.float64]]:
        """Return the average precision (T,) of each class that has boxes in the labels."""
        if self._sorted is None:
            self._sorted = {label: _sort(rows) for label, rows in self._rows.items()}
        found = {}
        for label, truths in sorted(self._truths.items()):
            places = np.fromiter(truths, np.int64)
            total = float(weights[places] @ np.fromiter(truths.values(), np.float64))
            if total > 0:
                found[label] = average_precision(self._sorted.get(label), weights, total)
        return found


def _mean(precisions: dict[int, NDArray[np.float64]]) -> float:
    return float(np.mean([values.mean() for values in precisions.values()])) if precisions else 0.0


def _sort(parts: Sequence[_ClassRows]) -> _ClassRows:
    """Join the rows of all images, the highest score first; equal scores keep their order."""
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="mergesort")
    images, hits, ignored = (
        np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("images", "hits", "ignored")
    )
    return _ClassRows(scores[order], images, hits, ignored)


def match_boxes(
    overlap: NDArray[np.float32],
    crowd: NDArray[np.bool_],
    strange: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match the boxes of one class to those of the labels, the best score first, as COCO does.

    `overlap` is (D, G). Each box takes the free label with the largest overlap above a threshold,
    rather a counted object than one that counts neither way: a crowd, or one of `strange` (G,).
    Returns hits and ignored, (D, T); a box matched to the latter is ignored.
    """
    strange = crowd if strange is None else strange
    hits = np.zeros((len(overlap), len(THRESHOLDS)), bool)
    ignored = np.zeros_like(hits)
    for place, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(crowd), bool)
        for row, values in enumerate(overlap):
            allowed = (values >= threshold - 1e-10) & (free | crowd)
            single = np.flatnonzero(allowed & ~strange)
            if len(single):
                # of equal overlaps COCO's loop takes the last
                best = single[len(single) - 1 - int(values[single][::-1].argmax())]
                free[best] = False
                hits[row, place] = True
            elif allowed.any():
                ignored[row, place] = True
                others = np.flatnonzero(allowed)
                best = others[len(others) - 1 - int(values[others][::-1].argmax())]
                free[best] &= bool(crowd[best])
    return hits, ignored


def average_precision(
    rows: _ClassRows | None, weights: Weights, total: float
) -> NDArray[np.float64]:
    """Return the average precision (T,) of sorted rows at 101 recalls, as COCO does.

    Image i counts `weights[i]` times; `total` is the weighted number of boxes in the labels.
    """
    if rows is None:
        return np.zeros(len(THRESHOLDS))
    times = weights[rows.images][:, None]
    right = np.cumsum(times * (rows.hits & ~rows.ignored), axis=0)
    wrong = np.cumsum(times * (~rows.hits & ~rows.ignored), axis=0)
    found = np.zeros(len(THRESHOLDS))
    for place in range(len(THRESHOLDS)):
        recall = right[:, place] / total
        precision = right[:, place] / np.maximum(right[:, place] + wrong[:, place], 1e-300)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        spots = np.searchsorted(recall, RECALLS, side="left")
        inside = spots < len(envelope)
        found[place] = envelope[spots[inside]].sum() / len(RECALLS)
    return found
