"""Draw scenes: one to four garments on a grey canvas of 96 x 96, with boxes, classes and a mask.

A scene depends on the seed and on the scene's number alone, so scene 7 is equal on every machine
and in every choice of scenes. A garment of 28 x 28 is enlarged (bilinear) to a side of 20 to 56
pixels; pixels above `LEAST_PIXEL` are the garment. Garments overlap by at most `MOST_COMMON` of
the smaller box. The canvas is a ramp of grey with noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]

SIDE = 96
MOST_GARMENTS = 4
SIDES = (20, 56)
LEAST_PIXEL = 24
MOST_COMMON = 0.15
ATTEMPTS = 12
MOST_GREY, NOISE = 70.0, 5.0


@dataclass(frozen=True, eq=False, slots=True)
class DrawnScene:
    """A drawn scene with its labels.

    Attributes:
        image: pixels (96, 96).
        mask: class + 1 of the garment in each pixel (96, 96), 0 for the canvas.
        boxes: corners x0, y0, x1, y1 (M, 4) of the garments in pixels.
        classes: the class of each garment (M,).
    """

    image: Bytes
    mask: Bytes
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]


def draw_scene(images: Bytes, labels: Bytes, number: int, seed: int) -> DrawnScene:
    """Return scene `number` with garments of `images` (N, 28, 28) and `labels` (N,)."""
    generator = np.random.default_rng((seed, number))
    canvas, mask = _draw_canvas(generator), np.zeros((SIDE, SIDE), np.uint8)
    boxes: list[tuple[int, int, int, int]] = []
    classes: list[int] = []
    for _ in range(int(generator.integers(1, MOST_GARMENTS + 1))):
        chosen = int(generator.integers(len(images)))
        garment = _enlarge(images[chosen], int(generator.integers(SIDES[0], SIDES[1] + 1)))
        if min(garment.shape) < 2 or (place := _find_place(generator, garment, boxes)) is None:
            continue
        x, y = place
        height, width = garment.shape
        inside = garment > LEAST_PIXEL
        canvas[y : y + height, x : x + width][inside] = garment[inside]
        mask[y : y + height, x : x + width][inside] = labels[chosen] + 1
        boxes.append((x, y, x + width, y + height))
        classes.append(int(labels[chosen]))
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return DrawnScene(canvas, mask, corners, np.array(classes, np.int64))


def _draw_canvas(generator: np.random.Generator) -> Bytes:
    """Return a ramp of grey with noise, (96, 96)."""
    first, last = map(float, generator.uniform(0, MOST_GREY, 2))
    ramp = np.linspace(first, last, SIDE)
    plane = np.broadcast_to(ramp if generator.random() < 0.5 else ramp[:, None], (SIDE, SIDE))
    noisy = plane + generator.normal(0, NOISE, (SIDE, SIDE))
    canvas: Bytes = noisy.round().clip(0, 255).astype(np.uint8)
    return canvas


def _enlarge(image: Bytes, side: int) -> Bytes:
    """Return a garment (28, 28) at `side` pixels, cut to the garment's own box."""
    large = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    inside = large > LEAST_PIXEL
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return large[:0, :0]
    return large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _find_place(
    generator: np.random.Generator, garment: Bytes, boxes: list[tuple[int, int, int, int]]
) -> tuple[int, int] | None:
    """Return (x, y) for a garment that hardly covers others; None after `ATTEMPTS` attempts."""
    height, width = garment.shape
    for _ in range(ATTEMPTS):
        x = int(generator.integers(0, SIDE - width + 1))
        y = int(generator.integers(0, SIDE - height + 1))
        if all(_common_share((x, y, x + width, y + height), box) <= MOST_COMMON for box in boxes):
            return x, y
    return None


def _common_share(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return the common area over the area of the smaller box.

    >>> _common_share((0, 0, 4, 4), (2, 0, 4, 2))
    1.0
    """
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return max(width, 0) * max(height, 0) / min(areas)
