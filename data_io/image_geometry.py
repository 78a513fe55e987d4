"""The geometry of images on the way to a network: a centred square, a resize, padding."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_io.errors import DatasetError

Size = tuple[int, int]
"""Width and height in pixels."""

LARGEST_SIDE = 4096
PAD_VALUE = 114
"""The grey that the YOLO projects pad with (Ultralytics' LetterBox)."""
_MAX_PIXELS = 64 * 1024**2
_EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}


class Interpolation(StrEnum):
    """How pixels are made when an image is resized (Pillow's filters, antialiased)."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class ResizeTo(StrEnum):
    """What becomes of an image's sides in a resize."""

    SHORT_SIDE = "short side"  # keeps the proportions
    BOTH_SIDES = "both sides"  # stretches to the wanted height and width
    PADDED = "padded"  # keeps the proportions, fits inside and pads (a letterbox)


@dataclass(frozen=True, slots=True)
class Resize:
    """A resize to `height` x `width` pixels; of the short side, both are its length.

    Example:
        >>> Resize(40, 40, ResizeTo.PADDED).fitted_size((200, 100))
        (40, 20)
        >>> Resize(40, 40, ResizeTo.PADDED).place_inside((200, 100))
        (0, 10)
    """

    height: int
    width: int
    to: ResizeTo

    def fitted_size(self, size: Size) -> Size:
        """Return (width, height) of an image after the resize, without padding.

        Raises:
            DatasetError: the image would have too many pixels.
        """
        width, height = size
        if self.to is ResizeTo.BOTH_SIDES:
            return self.width, self.height
        if self.to is ResizeTo.PADDED:
            factor = min(self.width / width, self.height / height)
            return max(1, round(width * factor)), max(1, round(height * factor))
        side, short = self.height, min(size)
        resized = max(side, int(side * width / short)), max(side, int(side * height / short))
        if resized[0] * resized[1] > _MAX_PIXELS:
            raise DatasetError(
                f"An image must have at most {_MAX_PIXELS} pixels after the resize, got "
                f"{width} x {height}, which becomes {resized[0]} x {resized[1]}; cut it first."
            )
        return resized

    def final_size(self, size: Size) -> Size:
        """Return (width, height) of an image after the resize and the padding."""
        if self.to is ResizeTo.PADDED:
            return self.width, self.height
        return self.fitted_size(size)

    def place_inside(self, size: Size) -> Size:
        """Return the columns on the left and the rows above an image that are padding.

        Of an odd rest the smaller half is left and above, as in the YOLO projects.
        """
        if self.to is not ResizeTo.PADDED:
            return 0, 0
        width, height = self.fitted_size(size)
        return (self.width - width) // 2, (self.height - height) // 2

    def apply_to(self, image: Image.Image, pixels: Image.Resampling, pad: int) -> Image.Image:
        """Return the image resized; padding has the value `pad` in every channel."""
        fitted = image.resize(self.fitted_size(image.size), pixels)
        if self.to is not ResizeTo.PADDED:
            return fitted
        filled = Image.new(image.mode, (self.width, self.height), (pad,) * len(image.getbands()))
        filled.paste(fitted, self.place_inside(image.size))
        return filled


def pillow_image_of(image: Image.Image | NDArray[np.uint8]) -> Image.Image:
    """Return `image`, an array (H, W) or (H, W, C) too, as a Pillow image of 8 bits a channel.

    Raises:
        DatasetError: the image has another depth or shape.
    """
    if isinstance(image, Image.Image):
        if image.mode not in _EIGHT_BIT_MODES:
            raise DatasetError(
                f"An image must have 8 bits a channel, got Pillow's mode {image.mode}; convert it "
                "first: cutting it down here would change its brightness."
            )
        return image
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise DatasetError(
            f"An image array must be uint8 (H, W) or (H, W, C), got {image.dtype} {image.shape}."
        )
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 3 and image.shape[2] != 3:
        raise DatasetError(
            f"An image array must have 1 or 3 channels in its last axis, got {image.shape}."
        )
    return Image.fromarray(image)


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """Return the centred square of `side` pixels; of an odd rest the larger half is cut after."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
