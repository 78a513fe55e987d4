"""Masks of a COCO file as targets of a folder of images: polygons and run lengths."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.folder import FolderSource
from data_io.preprocessing import Preprocess
from data_io.targets.coco_boxes import MAX_BYTES
from data_io.targets.mask_folder import fit_mask, image_size
from plain_files.read_json import JsonObject, parse_json

IGNORED = 255
MOST_CATEGORIES = 254
_MOST_RUN_BITS = 60
Region = NDArray[np.bool_]


@dataclass(frozen=True)
class Annotation:
    """One object: the class of its pixels, and where they are, as the file says it."""

    label: int
    segmentation: object


@dataclass(frozen=True)
class CocoMaskSource:
    """A folder of images with the objects of each, drawn into a mask when it is read."""

    images: FolderSource
    objects: Mapping[str, tuple[Annotation, ...]]
    background: int

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing of the images; masks take the same crop and size."""
        return self.images.preprocess

    def read(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return (inputs (N, C, H, W), labels (N,) or None)."""
        return self.images.read(indices)

    def read_targets(self, indices: Sequence[int]) -> Tensor:
        """Return the masks (N, H, W) of images, int64, in the geometry of the inputs.

        Raises:
            DatasetError: an object is no polygon and no run lengths of its image.
        """
        names = [self.images.names[index] for index in indices]
        masks = [self._draw_mask(name) for name in names]
        return torch.stack([fit_mask(mask, self.preprocess) for mask in masks])

    def _draw_mask(self, name: str) -> NDArray[np.uint8]:
        width, height = image_size(self.images.root / name)
        mask = np.full((height, width), self.background, np.uint8)
        taken = np.zeros((height, width), bool)
        for one in self.objects[name]:
            try:
                region = draw_region(one.segmentation, (height, width))
            except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
                raise DatasetError(
                    f"An object must be polygons [x, y, ...] or run lengths of its image, {width} "
                    f"x {height}; one of {name} is not ({str(error)[:80]}). Correct the file."
                ) from None
            disputed = region & taken & (mask != one.label)
            mask[region] = one.label
            mask[disputed] = IGNORED
            taken |= region
        return mask


def with_coco_masks(data: Dataset, file: Path, outputs: int) -> Dataset:
    """Return a folder of images with the objects of a COCO file as masks.

    Categories are classes in the order of their ids, counted from 1, and 0 is the background. A
    network with as many `outputs` as categories has no background: classes count from 0, and other
    pixels are ignored (255). Crowds, and pixels of objects of two classes, are ignored as well, as
    torchvision's reference for segmentation does.

    Raises:
        DatasetError: the data are no folder of images, the file is no COCO file with masks, or an
            image of the data is not in the file.
    """
    if not isinstance(data.source, FolderSource):
        raise DatasetError(
            f"A COCO file goes with a folder of images; {data.name} is none. Write targets into "
            "the .npz."
        )
    content = file.read_bytes()
    raw = _parse_coco_file(content, file.name)
    only_objects = outputs == len(raw["categories"]) > 1
    objects = _objects_by_image(raw, file.name, data.source, first=0 if only_objects else 1)
    source = CocoMaskSource(data.source, objects, IGNORED if only_objects else 0)
    images_digest = data.source_digest

    @cache
    def digest() -> str:
        text = f"{images_digest()} masks {only_objects} "
        return hashlib.sha256(text.encode() + content).hexdigest()

    return replace(data, source=source, source_digest=digest)


def _parse_coco_file(content: bytes, shown: str) -> JsonObject:
    """Return the file's parts; raises DatasetError where one is missing or no list."""
    try:
        raw: Any = parse_json(content, MAX_BYTES)
        lists = {name: list(raw[name]) for name in ("images", "annotations", "categories")}
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{shown} must be a COCO file with images, annotations and categories; got "
            f"{type(error).__name__} ({str(error)[:80]}). Check the file."
        ) from None
    if len(lists["categories"]) > MOST_CATEGORIES:
        raise DatasetError(
            f"A mask holds at most {MOST_CATEGORIES} categories; {shown} has "
            f"{len(lists['categories'])}. Keep the categories that the network knows."
        )
    return lists


def _objects_by_image(
    raw: JsonObject, shown: str, source: FolderSource, first: int
) -> dict[str, tuple[Annotation, ...]]:
    """Return the objects of each image of the folder, by the image's name."""
    try:
        ids = sorted({one["id"] for one in raw["categories"]})
        labels = {one: number for number, one in enumerate(ids, first)}
        names = {one["id"]: str(one["file_name"]) for one in raw["images"]}
        found: dict[str, list[Annotation]] = {name: [] for name in names.values()}
        for one in raw["annotations"]:
            label = IGNORED if one.get("iscrowd", 0) else labels[one["category_id"]]
            found[names[one["image_id"]]].append(Annotation(label, one["segmentation"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{shown} must be a COCO file with images (id, file_name), annotations (image_id, "
            f"category_id, segmentation) and categories (id); got {type(error).__name__} "
            f"({str(error)[:80]}). Check the file."
        ) from None
    objects = {}
    for name in source.names:
        own = found.get(name, found.get(Path(name).name))
        if own is None:
            raise DatasetError(
                f"Each image must be in {shown}; {name} is not. Add it, or remove the image."
            )
        objects[name] = tuple(own)
    return objects


def draw_region(segmentation: Any, size: tuple[int, int]) -> Region:
    """Return the pixels (H, W) of polygons, or of run lengths, compressed or not.

    Raises:
        ValueError: coordinates are no pairs, or run lengths do not fill the image.
    """
    if isinstance(segmentation, dict):
        return _fill_runs(segmentation, size)
    region = np.zeros(size, bool)
    for polygon in segmentation:
        region |= fill_polygon(np.asarray(polygon, np.float64), size)
    return region


def fill_polygon(corners: NDArray[np.float64], size: tuple[int, int]) -> Region:
    """Return the pixels (H, W) whose centres lie inside a polygon x0, y0, x1, y1, ... (2 M,).

    A centre is inside where a row crosses the border an odd number of times on its left.

    Raises:
        ValueError: there are fewer than three corners, or a coordinate is not finite.

    >>> fill_polygon(np.array([1.0, 0, 3, 0, 3, 1, 1, 1]), (2, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = size
    if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
        raise ValueError(f"a polygon has x, y of three corners or more, got {corners.shape}")
    points = corners.reshape(-1, 2)
    starts, ends = points, np.roll(points, -1, 0)
    centres = np.arange(width) + 0.5
    region = np.zeros(size, bool)
    low, high = points[:, 1].min(), points[:, 1].max()
    for row in range(max(0, int(np.floor(low))), min(height, int(np.ceil(high)))):
        y = row + 0.5
        crossing = (starts[:, 1] <= y) != (ends[:, 1] <= y)
        (x0, y0), (x1, y1) = starts[crossing].T, ends[crossing].T
        borders = np.sort(x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        region[row] = np.searchsorted(borders, centres, side="right") % 2 == 1
    return region


def _fill_runs(encoded: Mapping[str, Any], size: tuple[int, int]) -> Region:
    """Return the pixels (H, W) of run lengths, down the columns, background first."""
    height, width = size
    if list(encoded["size"]) != [height, width]:
        raise ValueError(f"run lengths of the size {list(encoded['size'])[:2]}")
    counts = encoded["counts"]
    runs = _unpack_run_text(counts) if isinstance(counts, str) else [int(one) for one in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"run lengths of {sum(runs)} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _unpack_run_text(text: str) -> list[int]:
    """Return the run lengths in COCO's text: 5 bits a letter from "0", the sixth says go on.

    From the fourth number on, a number is the difference to the number two places before.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii"):
        bits = letter - 48
        value |= (bits & 31) << shift
        shift += 5
        if shift > _MOST_RUN_BITS:
            raise ValueError(f"a run length of more than {_MOST_RUN_BITS} bits")
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs
