"""A folder of images: one sub-folder a class, or images alone without labels."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.preprocessing import Preprocess

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
CLASSES_FILE = "classes.txt"
# Pillow tries only these: others may hand the file to a program such as Ghostscript.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
_MAX_PIXELS = 64 * 1024**2


@dataclass(frozen=True)
class FolderSource:
    """Images below `root`, by name relative to `root`."""

    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...] | None
    preprocess: Preprocess

    def read(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return (inputs (N, C, H, W), labels (N,) or None).

        Raises:
            DatasetError: an image cannot be read, or images come out in different sizes.
        """
        inputs = [read_image(self.root, self.names[i], self.preprocess) for i in indices]
        if len({tensor.shape for tensor in inputs}) > 1:
            raise DatasetError(
                "Images of one batch must have one size after the preprocessing, got several in "
                f"{self.root.name}; set resize and crop."
            )
        labels = None if self.labels is None else torch.tensor([self.labels[i] for i in indices])
        return torch.stack(inputs), labels


def open_folder(root: Path, preprocess: Preprocess) -> Dataset:
    """Return the images below `root` as a dataset, ordered by name; pixels are not read.

    The order of classes is the order of `classes.txt` (one folder name a line; the line, counted
    from 0, is the model's output) or else alphabetical.

    Raises:
        DatasetError: not a folder, an empty folder, a link that leads outside, or folders and
            `classes.txt` that do not fit together.
    """
    if not root.is_dir():
        raise DatasetError(f"A folder of images must exist, got {root.name}, which is none.")
    folders = sorted(path.name for path in root.iterdir() if _is_class_folder(path))
    classes = _class_names(root, folders)
    label = {name: index for index, name in enumerate(classes)}
    pairs = [
        (f"{folder}/{name}", label[folder])
        for folder in folders
        for name in _image_names(root, root / folder)
    ]
    loose = _image_names(root, root)
    if pairs and loose:
        raise DatasetError(
            f"A folder must hold class folders or images, not both, got {len(folders)} folders "
            f"and images such as {loose[0]} in {root.name}; move the images into class folders."
        )
    if not pairs and not loose:
        raise DatasetError(
            f"A folder must hold images ({', '.join(SUFFIXES)}) or class folders with images, got "
            f"none in {root.name}."
        )
    names = tuple(name for name, _ in pairs) or tuple(loose)
    labels = tuple(label for _, label in pairs) or None
    source = FolderSource(root, names, labels, preprocess)
    corrections = preprocess.corrections
    named = classes if corrections is None else corrections.names_of_outputs(classes)
    return Dataset(
        name=root.name,
        source=source,
        indices=tuple(range(len(names))),
        labelled=bool(pairs),
        class_names=named if pairs else (),
        source_digest=cache(partial(digest_of_folder, source)),
    )


def read_image(root: Path, name: str, preprocess: Preprocess) -> Tensor:
    """Return the input, shape (C, H, W), of the image `name` below `root`.

    Raises:
        DatasetError: the image cannot be read; the sentence names the image.
    """
    try:
        with Image.open(root / name, formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise DatasetError(f"it has {image.width} x {image.height} pixels, too many")
            return preprocess.preprocess_image(image)
    except UnidentifiedImageError:
        reason = "it is no image of a known format"
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = f"it is damaged or cannot be opened ({type(error).__name__})"
    except ValueError as error:
        reason = str(error)
    raise DatasetError(
        f"Every image must be readable, got {name}: {reason.rstrip('.')}. Remove or replace it."
    )


def digest_of_folder(source: FolderSource) -> str:
    """Return a SHA-256 over names, labels, sizes, contents (streamed) and preprocessing."""
    total = hashlib.sha256(source.preprocess.to_json().encode())
    for index, name in enumerate(source.names):
        with (source.root / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        label = None if source.labels is None else source.labels[index]
        total.update(json.dumps([name, label, content]).encode())
    return total.hexdigest()


def _is_class_folder(path: Path) -> bool:
    """Tell whether the path is a sub-folder and not hidden."""
    return not path.name.startswith(".") and path.is_dir()


def _image_names(root: Path, folder: Path) -> list[str]:
    """Return the names of the images directly in `folder`, sorted."""
    images = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    for path in [folder, *images]:
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            raise DatasetError(
                f"Images must lie inside {root.name}, got {path.relative_to(root)}, a link that "
                "leads outside; copy the images instead."
            )
    return [path.name for path in images]


def _class_names(root: Path, folders: list[str]) -> tuple[str, ...]:
    """Return the class names in the order of the model's outputs."""
    listing = root / CLASSES_FILE
    if not listing.is_file() or not folders:
        return tuple(folders)
    if not listing.resolve().is_relative_to(root.resolve()):
        raise DatasetError(f"{CLASSES_FILE} must lie inside {root.name}, got a link outside.")
    try:
        lines = [line.strip() for line in listing.read_text("utf-8").splitlines()]
    except UnicodeDecodeError:
        raise DatasetError(f"{CLASSES_FILE} must be UTF-8 text, got other bytes.") from None
    while lines and not lines[-1]:
        lines.pop()
    if "" in lines:
        raise DatasetError(
            f"{CLASSES_FILE} must name a folder on every line, got line {lines.index('') + 1} "
            "empty; an empty line would shift all classes after it."
        )
    if doubled := sorted({line for line in lines if lines.count(line) > 1}):
        raise DatasetError(f"{CLASSES_FILE} must name each folder once, got {doubled[0]} twice.")
    if missing := sorted(set(folders) - set(lines)):
        raise DatasetError(
            f"Every class folder must stand in {CLASSES_FILE}, got {len(missing)} that do not, "
            f"such as {missing[0]}; add a line for each, at the place of its model output."
        )
    return tuple(lines)
