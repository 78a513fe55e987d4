"""Segmentation: the mean over classes of intersection over union (Jaccard index)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from analysis.evaluation.tasks.task_metric import Weights
from analysis.evaluation.user_metric import Targets
from quant.errors import QuantError

IGNORED = (255, -1)
"""Labels of pixels that do not count, as in PASCAL VOC and Cityscapes."""


class PixelEvidence:
    """The pixels of each class in the answer, in the mask, and in both: (N, 3, C)."""

    def __init__(self) -> None:
        self._counts: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        """Return the number of images."""
        return sum(len(part) for part in self._counts)

    def add(self, outputs: Sequence[Tensor], targets: Targets) -> None:
        """Add scores (N, C, H, W), or (N, 1, H, W) of one class, and masks (N, H, W)."""
        scores = outputs[0]
        if scores.dim() != 4 or not isinstance(targets, Tensor) or targets.dim() not in {3, 4}:
            shape = tuple(targets.shape) if isinstance(targets, Tensor) else "none"
            raise QuantError(
                f"Segmentation needs scores (N, C, H, W) and masks (N, H, W); got "
                f"{tuple(scores.shape)} and {shape}. Choose another task, or name masks."
            )
        masks = (targets[:, 0] if targets.dim() == 4 else targets).long()
        if scores.shape[-2:] != masks.shape[-2:]:
            size = tuple(masks.shape[-2:])
            scores = F.interpolate(scores.float(), size, mode="bilinear", align_corners=False)
        single = scores.shape[1] == 1
        answers = (scores[:, 0] > 0).long() if single else scores.argmax(1)
        classes = 2 if single else scores.shape[1]
        kept = torch.stack([masks != label for label in IGNORED]).all(0)
        if int(masks[kept].max() if kept.any() else 0) >= classes:
            raise QuantError(
                f"Masks must hold classes from 0 to {classes - 1}, or 255 for none; got "
                f"{int(masks[kept].max())}. Use masks made for this model."
            )
        self._counts.append(_count_pixels(answers, masks, kept, classes))

    def score(self, weights: Weights) -> float:
        """Return the mean IoU of the classes that occur."""
        found = _iou(np.concatenate(self._counts), weights)
        return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0

    def parts(self) -> dict[str, float]:
        """Return the IoU of each class that occurs."""
        found = _iou(np.concatenate(self._counts), np.ones(len(self)))
        return {f"class {n}": float(one) for n, one in enumerate(found) if np.isfinite(one)}


def _count_pixels(
    answers: Tensor, masks: Tensor, kept: Tensor, classes: int
) -> NDArray[np.float64]:
    """Return the pixels (N, 3, C) of each class in answers, in masks and in both (N, H, W)."""
    counts = torch.zeros(len(masks), 3, classes)
    for place, (answer, mask, valid) in enumerate(zip(answers, masks, kept, strict=True)):
        found, true = answer[valid], mask[valid]
        for row, values in enumerate((found, true, found[found == true])):
            counts[place, row] = torch.bincount(values, minlength=classes)
    return counts.double().numpy()


def _iou(counts: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    """Return the IoU (C,) of pixel counts (N, 3, C); NaN for a class that nowhere occurs."""
    answer, mask, both = np.tensordot(weights, counts, 1)
    union = answer + mask - both
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = both / union
    return found
