"""Pictures with boxes or masks painted on them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.tasks.changed_pictures import Box

Picture = NDArray[np.float32]
SHOWN_SIDE = 288
"""Pictures are enlarged by a whole number until the shorter side has so many pixels."""
LINE = 2
MASK_SHARE = 0.55
COLORS = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
        (160, 160, 160),
        (148, 103, 189),
        (140, 200, 60),
    ],
    np.float32,
)
"""The colours of Okabe and Ito (2008), readable for the colour-blind, and three more."""


def paint_boxes(picture: Picture, boxes: Sequence[Box]) -> Picture:
    """Return a picture (H, W, 1 or 3) of 0 to 1 as (k H, k W, 3) with a frame for each box.

    The best box is painted last. Corners are in pixels of the picture.
    """
    painted, factor = _enlarge_picture(picture)
    height, width = painted.shape[:2]
    for x0, y0, x1, y1, _, label in reversed(boxes):
        left, right = (int(np.clip(x * factor, 0, width - 1)) for x in (x0, x1))
        top, bottom = (int(np.clip(y * factor, 0, height - 1)) for y in (y0, y1))
        color = _class_color(label)
        painted[top : bottom + 1, left : left + LINE] = color
        painted[top : bottom + 1, max(0, right - LINE + 1) : right + 1] = color
        painted[top : top + LINE, left : right + 1] = color
        painted[max(0, bottom - LINE + 1) : bottom + 1, left : right + 1] = color
    return painted


def paint_mask(picture: Picture, mask: NDArray[np.uint8]) -> Picture:
    """Return a picture (H, W, 1 or 3) of 0 to 1 as (k H, k W, 3), coloured by classes (h, w).

    Class 0, the background, stays as it is.
    """
    painted, _ = _enlarge_picture(picture)
    rows = np.arange(painted.shape[0]) * mask.shape[0] // painted.shape[0]
    columns = np.arange(painted.shape[1]) * mask.shape[1] // painted.shape[1]
    classes = mask[rows][:, columns]
    colors = np.stack([_class_color(label - 1) for label in range(int(classes.max()) + 1)])
    inside = (classes > 0)[..., None]
    mixed = (1 - MASK_SHARE) * painted + MASK_SHARE * colors[classes]
    return np.where(inside, mixed, painted).astype(np.float32)


def _class_color(label: int) -> NDArray[np.float32]:
    """Return the colour (3,) of a class, from 0 to 1."""
    color: NDArray[np.float32] = COLORS[label % len(COLORS)] / 255
    return color


def _enlarge_picture(picture: Picture) -> tuple[Picture, int]:
    """Return the picture in three colours, enlarged by a whole number, and the number."""
    factor = max(1, -(-SHOWN_SIDE // min(picture.shape[:2])))
    colored = np.broadcast_to(picture, (*picture.shape[:2], 3))
    return colored.repeat(factor, 0).repeat(factor, 1).astype(np.float32), factor
