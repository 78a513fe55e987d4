"""YOLO labels of a folder of images: a .txt of the same name for each, a box a line."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.folder import FolderSource
from data_io.targets.coco_boxes import BoxedSource, map_corners
from data_io.targets.mask_folder import image_size

NUMBERS = 5
"""Class, centre x and y, width and height as shares of the image."""


def with_yolo_labels(data: Dataset, root: Path) -> Dataset:
    """Return a folder of images with the boxes of YOLO label files as targets.

    An image without a file has no object, as in the YOLO projects.

    Raises:
        DatasetError: the data are no folder of images, no image has a file, or a line of a file is
            no box.
    """
    if not isinstance(data.source, FolderSource):
        raise DatasetError(
            f"YOLO labels go with a folder of images; {data.name} is none. Write targets.boxes "
            "and targets.classes into the .npz."
        )
    images, images_digest = data.source, data.source_digest
    texts = {name: _read_label_text(root, name) for name in images.names}
    if not any(text is not None for text in texts.values()):
        raise DatasetError(
            f"At least one image must have a .txt of its name in {root.name}; none of "
            f"{len(texts)} has. Name the folder of these images' labels."
        )
    boxes = {name: _boxes_of_text(text or "", name, images) for name, text in texts.items()}
    content = "\0".join(f"{name}\n{text}" for name, text in sorted(texts.items()))

    @cache
    def digest() -> str:
        return hashlib.sha256((images_digest() + content).encode()).hexdigest()

    return replace(data, source=BoxedSource(images, boxes), source_digest=digest)


def _read_label_text(root: Path, name: str) -> str | None:
    """Return the text of the labels of an image, or None without a file."""
    path = root / Path(name).with_suffix(".txt")
    if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        return None
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DatasetError(f"Labels must be text; {path.name} is not. Replace the file.") from None


def _boxes_of_text(text: str, name: str, source: FolderSource) -> Tensor:
    """Return rows (M, 6) of corners in pixels of the input, class and crowd (0)."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines:
        return torch.zeros(0, 6)
    size = image_size(source.root / name)
    rows = []
    for number, line in enumerate(lines, 1):
        x, y, width, height = _shares_of_line(line, name, number)
        corners = (
            (x - width / 2) * size[0],
            (y - height / 2) * size[1],
            (x + width / 2) * size[0],
            (y + height / 2) * size[1],
        )
        mapped = map_corners(corners, size, source.preprocess)
        if mapped is not None:
            rows.append([*mapped, float(line[0]), 0.0])
    return torch.tensor(rows).reshape(-1, 6)


def _shares_of_line(line: list[str], name: str, number: int) -> tuple[float, ...]:
    """Return centre, width and height of a line as shares of the image.

    Raises:
        DatasetError: the line has other numbers.
    """
    try:
        shares = tuple(map(float, line[1:NUMBERS]))
        fits = line[0].isdecimal() and len(line) == NUMBERS and all(0 <= one <= 1 for one in shares)
    except ValueError:
        fits = False
    if not fits:
        raise DatasetError(
            f"A line of YOLO labels must hold a class and x, y, width, height from 0 to 1; line "
            f"{number} of the labels of {name} is {' '.join(line)[:60]!r}. Correct the file."
        )
    return shares
