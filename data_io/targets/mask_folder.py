"""Masks of a folder of images: a PNG of the same name for each image, a class in each pixel."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.folder import FolderSource
from data_io.image_geometry import Interpolation
from data_io.preprocessing import Layout, Preprocess

_MODES = ("P", "L", "1")
"""Pillow's modes that hold a whole number of 8 bits, or a bit, in each pixel."""
NO_CLASS = 255
"""The class of pixels that no score counts, as in Pascal VOC and Cityscapes."""


@dataclass(frozen=True)
class MaskedSource:
    """A folder of images, and a folder with a mask for each of them."""

    images: FolderSource
    root: Path

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
            DatasetError: a mask is missing, cannot be read, or has another size than its image.
        """
        return torch.stack([self._read_mask(self.images.names[index]) for index in indices])

    def _read_mask(self, name: str) -> Tensor:
        path = self.root / Path(name).with_suffix(".png")
        if not path.is_file() or not path.resolve().is_relative_to(self.root.resolve()):
            raise DatasetError(
                f"Each image needs a mask, a .png of its name; {path.name} is not in "
                f"{self.root.name}. Add the mask, or remove the image."
            )
        try:
            with Image.open(path, formats=["PNG"]) as image:
                if image.mode not in _MODES:
                    raise DatasetError(
                        f"A mask must hold a class in each pixel (grey or palette, 8 bits); "
                        f"{path.name} has Pillow's mode {image.mode}. Convert the mask."
                    )
                classes = np.array(image, np.uint8)
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DatasetError(
                f"Each mask must be readable; {path.name} is not ({type(error).__name__}). "
                "Replace the mask."
            ) from None
        size = image_size(self.images.root / name)
        if classes.shape != size[::-1]:
            raise DatasetError(
                f"A mask must have the size of its image, {size[0]} x {size[1]}; {path.name} has "
                f"{classes.shape[1]} x {classes.shape[0]}. Use the masks of these images."
            )
        return fit_mask(classes, self.preprocess)


def fit_mask(classes: NDArray[np.uint8], preprocess: Preprocess) -> Tensor:
    """Return the mask (H, W), int64, of classes (h, w) in the geometry of a network's input.

    Padding has no class.
    """
    steps = replace(
        preprocess,
        channels=1,
        mean=(0.0,),
        std=(1.0,),
        layout=Layout.NCHW,
        interpolation=Interpolation.NEAREST,
        pad=NO_CLASS,
    )
    return steps.preprocess_image(classes)[0].round().long()


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image file.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"Each image must be readable; {path.name} is not ({type(error).__name__}). Replace it."
        ) from None


def with_masks(data: Dataset, root: Path) -> Dataset:
    """Return a folder of images with the masks of another folder as targets.

    Raises:
        DatasetError: the data are no folder of images, or `root` is no folder.
    """
    if not isinstance(data.source, FolderSource):
        raise DatasetError(
            f"Masks go with a folder of images; {data.name} is none. Write targets into the .npz."
        )
    if not root.is_dir():
        raise DatasetError(f"Masks must lie in a folder; got {root.name}, which is none.")
    source, images_digest = MaskedSource(data.source, root), data.source_digest

    @cache
    def digest() -> str:
        total = hashlib.sha256(images_digest().encode())
        for path in sorted(root.rglob("*.png")):
            total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()

    return replace(data, source=source, source_digest=digest)
