"""The images whose boxes or masks change most by quantization, with both answers.

The change of boxes is the share of boxes, of both networks together, that have no partner of their
class and of an overlap of at least 0.5 in the other network; boxes count from a score of 0.3 on.
The change of masks is the share of pixels with another class. Both are our choice.
"""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from analysis.evaluation.tasks.boxes import Detections, decode, overlaps
from analysis.evaluation.tasks.detection import BoxEvidence
from analysis.evaluation.tasks.kinds import TaskKind
from analysis.evaluation.tasks.task_metric import TaskMetric

MOST_PICTURES = 8
MOST_IMAGES = 256
"""Images that are looked through; each is decoded once more."""
SHOWN_SCORE = 0.3
SAME_OVERLAP = 0.5
MASK_SIDE = 128
"""The longest side of a stored mask."""

Box = tuple[float, float, float, float, float, int]
"""Corners x0, y0, x1, y1 in pixels of the input, score, class."""


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """The answers of both networks to an image: boxes, or masks as packed text.

    `change` is a share of 1. `mask_shape` is (height, width) of the masks; empty for boxes.
    """

    index: int
    change: float
    float_boxes: tuple[Box, ...] = ()
    boxes: tuple[Box, ...] = ()
    float_mask: str = ""
    mask: str = ""
    mask_shape: tuple[int, ...] = ()


class ChangedPictures:
    """The most changed images so far, of the first `MOST_IMAGES`."""

    def __init__(self, metric: TaskMetric) -> None:
        self._metric = metric
        self._images = 0
        self._answers: list[TaskAnswer] = []

    def add_outputs(
        self, indices: Sequence[int], references: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        """Compare the outputs of both networks, of shape (N, ...); `indices` name the images."""
        if self._images >= MOST_IMAGES:
            return
        self._images += len(indices)
        if self._metric.task == TaskKind.DETECTION:
            both = [self._decode(group) for group in (references, outputs)]
            found = [
                compare_boxes(index, before, after)
                for index, before, after in zip(indices, *both, strict=True)
            ]
        elif self._metric.task == TaskKind.SEGMENTATION:
            masks = [_class_masks(group[0]) for group in (references, outputs)]
            found = [
                compare_masks(index, before, after)
                for index, before, after in zip(indices, *masks, strict=True)
            ]
        else:
            return
        changed = [*self._answers, *(one for one in found if one.change > 0)]
        self._answers = sorted(changed, key=lambda one: -one.change)[:MOST_PICTURES]

    def most_changed(self) -> tuple[TaskAnswer, ...]:
        """Return the answers that changed, the most changed first."""
        return tuple(self._answers)

    def _decode(self, outputs: Sequence[Tensor]) -> list[Detections]:
        """Return the boxes of each image as the metric decodes outputs of shape (N, ...)."""
        collect = self._metric.collect
        if not isinstance(collect, partial):
            return []
        evidence = collect()
        if not isinstance(evidence, BoxEvidence):
            return []
        return decode(outputs, evidence.head, evidence.size, evidence.priors)


def compare_boxes(index: int, before: Detections, after: Detections) -> TaskAnswer:
    """Return the answers of both networks to an image with the share of boxes without partner."""
    old, new = (_shown_boxes(one) for one in (before, after))
    close = overlaps(old.boxes, new.boxes) >= SAME_OVERLAP
    partners = close & (old.classes[:, None] == new.classes[None])
    total = len(old.scores) + len(new.scores)
    alone = int((~partners.any(1)).sum()) + int((~partners.any(0)).sum())
    change = alone / total if total else 0.0
    return TaskAnswer(index, change, _box_rows(old), _box_rows(new))


def compare_masks(index: int, before: Tensor, after: Tensor) -> TaskAnswer:
    """Return the answers (H, W) of both networks to an image with the share of changed pixels."""
    change = float((before != after).double().mean())
    small = [_shrink_mask(one) for one in (before, after)]
    texts = [pack_mask(one) for one in small]
    height, width = small[0].shape
    return TaskAnswer(
        index, change, float_mask=texts[0], mask=texts[1], mask_shape=(int(height), int(width))
    )


def _shown_boxes(found: Detections) -> Detections:
    kept = found.scores >= SHOWN_SCORE
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept])


def _box_rows(found: Detections) -> tuple[Box, ...]:
    return tuple(
        (*(round(value, 2) for value in corners), round(score, 4), label)
        for corners, score, label in zip(
            found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
        )
    )


def _class_masks(scores: Tensor) -> Tensor:
    """Return the class of each pixel (N, H, W) of scores (N, C, H, W); one class from 0 on."""
    return (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(1)


def _shrink_mask(mask: Tensor) -> NDArray[np.uint8]:
    """Return classes (H, W) at most `MASK_SIDE` wide and high."""
    longest = max(mask.shape)
    if longest > MASK_SIDE:
        scale = MASK_SIDE / longest
        size = [max(1, round(side * scale)) for side in mask.shape]
        mask = F.interpolate(mask[None, None].float(), size=size)[0, 0]
    found: NDArray[np.uint8] = mask.to(torch.uint8).numpy()
    return found


def pack_mask(mask: NDArray[np.uint8]) -> str:
    """Return classes (H, W) as text: compressed bytes in base 64."""
    return base64.b64encode(zlib.compress(mask.tobytes(), 9)).decode()


def unpack_mask(text: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the classes (H, W) in a text of `pack_mask`.

    Raises:
        ValueError: the text holds another number of pixels.
    """
    size = int(np.prod(shape))
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    except zlib.error:
        content = b""
    if len(content) != size:
        raise ValueError(f"A mask must hold {size} pixels; got {len(content)}. Run it again.")
    return np.frombuffer(content, np.uint8).reshape(shape)
