"""Boxes of a COCO file as targets of a folder of images, in the geometry of the network's input."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.folder import FolderSource
from data_io.preprocessing import Preprocess
from plain_files.read_json import parse_json

NO_BOX = -1.0
MAX_BYTES = 1024**3
_MOST_PIXELS = 1 << 20
"""Of a side of an image."""


@dataclass(frozen=True)
class BoxedSource:
    """A folder of images with the boxes of each: rows (M, 6) of corners, class and crowd."""

    images: FolderSource
    boxes: Mapping[str, Tensor]

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing of the images."""
        return self.images.preprocess

    def read(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return (inputs (N, C, H, W), labels (N,) or None)."""
        return self.images.read(indices)

    def read_targets(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return boxes (N, M, 4) as corners in pixels of the input, classes and crowd (N, M).

        Rows without a box have the class -1.
        """
        rows = [self.boxes[self.images.names[index]] for index in indices]
        most = max(1, *map(len, rows))
        padded = torch.full((len(rows), most, 6), NO_BOX)
        for place, found in enumerate(rows):
            padded[place, : len(found)] = found
        crowd = padded[..., 5].clamp(min=0).long()
        return {"boxes": padded[..., :4], "classes": padded[..., 4].long(), "crowd": crowd}


def with_boxes(data: Dataset, file: Path) -> Dataset:
    """Return a folder of images with the boxes of a COCO file as targets.

    Classes are counted from 0 in the order of category ids.

    Raises:
        DatasetError: the data are no folder of images, the file is no COCO file, or an image of
            the data is not in the file.
    """
    if not isinstance(data.source, FolderSource):
        raise DatasetError(
            f"A COCO file goes with a folder of images; {data.name} is none. Write targets.boxes "
            "and targets.classes into the .npz."
        )
    content = file.read_bytes()
    boxes = _read_boxes(content, file.name, data.source)
    source, images_digest = BoxedSource(data.source, boxes), data.source_digest

    @cache
    def digest() -> str:
        return hashlib.sha256(images_digest().encode() + content).hexdigest()

    return replace(data, source=source, source_digest=digest)


def _read_boxes(content: bytes, shown: str, source: FolderSource) -> dict[str, Tensor]:
    """Return the rows (M, 6) of each image of the folder, by the image's name."""
    try:
        raw: Any = parse_json(content, MAX_BYTES)
        classes = {one: n for n, one in enumerate(sorted({c["id"] for c in raw["categories"]}))}
        sizes = {
            one["id"]: (str(one["file_name"]), int(one["width"]), int(one["height"]))
            for one in raw["images"]
        }
        rows: dict[str, list[list[float]]] = {name: [] for name, _, _ in sizes.values()}
        for one in raw["annotations"]:
            name, width, height = sizes[one["image_id"]]
            x, y, w, h = map(float, one["bbox"])
            given = x, y, x + w, y + h
            _check_numbers(given, width, height)
            corners = map_corners(given, (width, height), source.preprocess)
            if corners is not None:
                crowd = float(bool(one.get("iscrowd", 0)))
                rows[name].append([*corners, float(classes[one["category_id"]]), crowd])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DatasetError(
            f"{shown} must be a COCO file with images (id, file_name, width, height), annotations "
            f"(image_id, category_id, bbox) and categories (id); got {type(error).__name__} "
            f"({str(error)[:80]}). Check the file."
        ) from None
    found = {}
    for name in source.names:
        own = rows.get(name, rows.get(Path(name).name))
        if own is None:
            raise DatasetError(
                f"Each image must be in {shown}; {name} is not. Add it, or remove the image."
            )
        found[name] = torch.tensor(own).reshape(-1, 6)
    return found


def _check_numbers(corners: tuple[float, ...], width: int, height: int) -> None:
    """Raise ValueError for corners that are none, or a size that no image has."""
    if not (0 < width < _MOST_PIXELS and 0 < height < _MOST_PIXELS):
        raise ValueError(f"an image of {width} x {height}")
    if not all(map(math.isfinite, corners)):
        raise ValueError(f"a box of corners {corners}")


def map_corners(
    corners: tuple[float, float, float, float], size: tuple[int, int], steps: Preprocess
) -> tuple[float, float, float, float] | None:
    """Return corners (x0, y0, x1, y1) of an image in the network's input; None if cut away.

    `size` is (width, height) of the image. Boxes end where the crop ends.

    >>> map_corners((0, 0, 50, 100), (200, 100), Preprocess(resize=50, crop=50))
    >>> map_corners((50, 0, 150, 100), (200, 100), Preprocess(resize=50, crop=50))
    (0.0, 0.0, 50.0, 50.0)
    """
    found = list(map(float, corners))

    def cut(side: int) -> None:
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        for place, shift in enumerate((left, top, left, top)):
            found[place] = min(max(found[place] - shift, 0.0), float(side))

    if steps.crop_fraction is not None:
        side = max(1, int(min(size) * steps.crop_fraction))
        cut(side)
        size = (side, side)
    if (resizing := steps.resizing) is not None:
        fitted, padding = resizing.fitted_size(size), resizing.place_inside(size)
        for place in range(4):
            found[place] *= fitted[place % 2] / size[place % 2]
            found[place] += padding[place % 2]
        size = resizing.final_size(size)
    if steps.crop is not None:
        cut(steps.crop)
    x0, y0, x1, y1 = found
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
