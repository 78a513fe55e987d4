"""YOLO labels of a folder of images: a .txt of the same name for each, a box a line.

The rules are those of the YOLO projects (Ultralytics): `images/val/a.jpg` has the labels
`labels/val/a.txt`; a line holds class, centre, width and height as shares of the image, or a class
and the corners of a polygon, whose box is taken.
"""

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
_MOST_CLASS = 10**6
"""Class, centre x and y, width and height as shares of the image."""
FEWEST_CORNERS = 3
ROUNDED = 0.01
"""The share by which a number may lie outside the image, from rounding (our choice)."""


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
    places = _places_of_labels(images.root, root)
    found = ({name: _read_label_text(one, name) for name in images.names} for one in places)
    texts = next((one for one in found if any(text is not None for text in one.values())), None)
    if texts is None:
        raise DatasetError(
            f"At least one image must have a .txt of its name in {root.name}; none of "
            f"{len(images.names)} has. Name the folder of these images' labels."
        )
    boxes = {name: _boxes_of_text(text or "", name, images) for name, text in texts.items()}
    content = "\0".join(f"{name}\n{text}" for name, text in sorted(texts.items()))

    @cache
    def digest() -> str:
        return hashlib.sha256((images_digest() + content).encode()).hexdigest()

    return replace(data, source=BoxedSource(images, boxes), source_digest=digest)


def _places_of_labels(images: Path, root: Path) -> tuple[Path, ...]:
    """Return the folders that may hold the labels of a folder of images.

    The first is the named one. `images/val` may have its labels in `val` of the named folder.
    """
    parts = images.resolve().parts
    last = len(parts) - 1 - parts[::-1].index("images") if "images" in parts else None
    inside = () if last is None else (root.joinpath(*parts[last + 1 :]),)
    return root, *inside, root / images.name


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
        label, *shares = map(float, line)
        fits = 0 <= label <= _MOST_CLASS and label.is_integer()
        fits &= all(-ROUNDED <= one <= 1 + ROUNDED for one in shares)
    except ValueError:
        fits, shares = False, []
    if fits and len(shares) == NUMBERS - 1:
        return tuple(shares)
    if fits and len(shares) >= 2 * FEWEST_CORNERS and len(shares) % 2 == 0:
        across, down = shares[::2], shares[1::2]
        width, height = max(across) - min(across), max(down) - min(down)
        return min(across) + width / 2, min(down) + height / 2, width, height
    raise DatasetError(
        "A line of YOLO labels must hold a class and x, y, width, height from 0 to 1, or a class "
        f"and the corners of a polygon; line {number} of the labels of {name} is "
        f"{' '.join(line)[:60]!r}. Correct the file."
    )
