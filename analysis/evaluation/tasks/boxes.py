"""Boxes: overlap, decoding of a detector's head, and non-maximum suppression, all in torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.evaluation.tasks.kinds import Head
from quant.errors import QuantError

MOST_BOXES = 100
"""Boxes an image that count, as COCO has it."""
CANDIDATES = 1000
"""Boxes an image that enter the suppression (our choice)."""
LEAST_SCORE = 0.001
OVERLAP = 0.65
"""Least score and greatest overlap that the YOLO projects evaluate with."""
MOST_DECODED = 1000
"""Rows of six numbers beyond so many are a YOLO v5 head of one class (our choice)."""
VARIANCES = (0.1, 0.2)
"""Factors of an SSD's offsets, of centres and of the logarithms of sides (Liu et al. 2016)."""
UNIT = 2.0
"""Coordinates below this are shares of the image."""


@dataclass(frozen=True, eq=False, slots=True)
class Detections:
    """The boxes of one image: corners (M, 4) in pixels, scores (M,), classes (M,); best first."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def recognise_head(outputs: Sequence[Tensor]) -> Head:
    """Return how outputs hold boxes, from their number and shapes.

    Raises:
        QuantError: the outputs are of no known head.
    """
    shapes = [tuple(one.shape) for one in outputs]
    first = shapes[0]
    if len(shapes) in {2, 3} and len(first) == 3 and first[-1] == 4:
        return Head.DECODED
    if len(first) == 3 and first[-1] == 6 and 6 < first[1] <= MOST_DECODED:
        return Head.DECODED
    if len(first) == 3 and 5 <= first[1] < first[2]:
        return Head.YOLO_V8
    if len(first) == 3 and 6 <= first[2] <= first[1]:
        return Head.YOLO_V5
    raise QuantError(
        f"A detector's outputs must be boxes, scores and classes, or one YOLO head; got {shapes}. "
        "Name another task, or bring a metric of your own with --metric."
    )


def decode(
    outputs: Sequence[Tensor], head: Head, size: tuple[int, int], priors: Tensor | None = None
) -> list[Detections]:
    """Return the boxes of each image after non-maximum suppression.

    `size` is (height, width) of the network's input in pixels. Boxes that are decoded with their
    classes (N, M, 6), or with classes (N, M), were suppressed by the network and are kept. `priors`
    (M, 4) are the prior boxes of an SSD head.

    Raises:
        QuantError: the outputs are of no known head.
    """
    kind = recognise_head(outputs) if head is Head.AUTO else head
    suppressed = kind is Head.DECODED and (len(outputs) == 3 or outputs[0].shape[-1] == 6)
    if kind is Head.SSD:
        outputs, kind = _decode_ssd(outputs, priors), Head.DECODED
        suppressed = False
    boxes, scores, classes = _parts(outputs, kind)
    if bool((boxes.abs().amax() if boxes.numel() else 0) <= UNIT):
        boxes = boxes * torch.tensor([size[1], size[0]] * 2)
    found = []
    for corners, score, label in zip(boxes, scores, classes, strict=True):
        kept = score > LEAST_SCORE
        one = best_first(Detections(corners[kept], score[kept], label[kept]), CANDIDATES)
        found.append(best_first(one if suppressed else suppress(one), MOST_BOXES))
    return found


def _parts(outputs: Sequence[Tensor], head: Head) -> tuple[Tensor, Tensor, Tensor]:
    """Return corners (N, M, 4), scores (N, M) and classes (N, M)."""
    first = outputs[0].float()
    if head is Head.DECODED and len(outputs) == 1:
        return first[..., :4], first[..., 4], first[..., 5].round().long()
    if head is Head.DECODED:
        scores = outputs[1].float()
        if len(outputs) == 3:
            return (
                first,
                scores.reshape(first.shape[:2]),
                outputs[2].reshape(first.shape[:2]).long(),
            )
        best = as_shares(scores.reshape(*first.shape[:2], -1)).max(-1)
        return first, best.values, best.indices
    rows = first.movedim(1, 2) if head is Head.YOLO_V8 else first
    scores = as_shares(rows[..., 4:])
    if head is Head.YOLO_V5:
        scores = scores[..., :1] * scores[..., 1:]
    best = scores.max(-1)
    return to_corners(rows[..., :4]), best.values, best.indices


def _decode_ssd(outputs: Sequence[Tensor], priors: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return corners (N, M, 4) and scores without the background (N, M, C) of an SSD head.

    A centre is that of the prior plus 0.1 offsets of its side; a side is the prior's times
    exp(0.2 offsets) (Liu et al. 2016, section 2.2, with the variances of its code).

    Raises:
        QuantError: the priors are missing, or their number is another.
    """
    shapes = [tuple(one.shape) for one in outputs]
    fits = len(outputs) == 2 and len(shapes[0]) == len(shapes[1]) == 3 and shapes[0][2] == 4
    if not fits or priors is None or len(priors) != shapes[0][1]:
        got = "no priors" if priors is None else f"{len(priors)} priors"
        raise QuantError(
            f"An SSD head needs offsets (N, M, 4), scores (N, M, 1 + C) and M priors; got outputs "
            f"{shapes} and {got}. Name the priors: the field beside Head, or --priors FILE.npy."
        )
    offsets, scores = outputs[0].float(), outputs[1].float()
    centres = priors[:, :2] + offsets[..., :2] * VARIANCES[0] * priors[:, 2:]
    sides = priors[:, 2:] * (offsets[..., 2:] * VARIANCES[1]).exp()
    inside = bool((scores >= 0).all() and (scores <= 1).all())
    shares = scores if inside else scores.softmax(-1)
    return to_corners(torch.cat([centres, sides], -1)), shares[..., 1:]


def as_shares(scores: Tensor) -> Tensor:
    """Return scores of any shape as shares of 1; a sigmoid converts logits outside 0 to 1."""
    inside = bool((scores >= -0.01).all() and (scores <= 1.01).all())
    return scores if inside else scores.sigmoid()


def to_corners(boxes: Tensor) -> Tensor:
    """Return corners of boxes by centre x, y, width and height; both have the shape (..., 4)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def best_first(found: Detections, most: int) -> Detections:
    """Return the `most` boxes with the highest scores, in that order."""
    order = found.scores.argsort(descending=True, stable=True)[:most]
    return Detections(found.boxes[order], found.scores[order], found.classes[order])


def overlaps(first: Tensor, second: Tensor, crowd: Tensor | None = None) -> Tensor:
    """Return the intersection over union (A, B) of corners (A, 4) and (B, 4).

    Where `crowd` (B,) is true, the intersection over the area of the first box, as COCO has it.

    >>> overlaps(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2]])).item()
    0.333...
    """
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = [(one[:, 2:] - one[:, :2]).clamp(min=0).prod(-1) for one in (first, second)]
    union = areas[0][:, None] + areas[1][None] - common
    if crowd is not None:
        union = torch.where(crowd[None], areas[0][:, None], union)
    return common / union.clamp(min=1e-12)


def suppress(found: Detections, overlap: float = OVERLAP) -> Detections:
    """Drop each box that overlaps a better one of its class by more than `overlap`; best first."""
    found = best_first(found, len(found.scores))
    same = found.classes[:, None] == found.classes[None]
    close = (overlaps(found.boxes, found.boxes) > overlap) & same
    kept = torch.ones(len(found.scores), dtype=torch.bool)
    for place in range(len(kept)):
        if kept[place]:
            kept[place + 1 :] &= ~close[place, place + 1 :]
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept])
