"""From an image to a network's input: crop, resize, scale, in a declared order."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data_io.dataset import Corrections
from data_io.errors import DatasetError
from data_io.image_geometry import (
    LARGEST_SIDE,
    PAD_VALUE,
    Interpolation,
    Resize,
    ResizeTo,
    centre_square,
    pillow_image_of,
)
from data_io.table_columns import TableColumns
from plain_files.read_json import JsonError, parse_json


class PixelScale(StrEnum):
    """The scale of pixels for a file's mean and std."""

    BYTES = "0..255"
    UNIT = "0..1"  # torchvision's convention


class ChannelOrder(StrEnum):
    """The order of a pixel's colours in a network's input."""

    RGB = "RGB"
    BGR = "BGR"  # networks from Caffe and OpenCV


class Layout(StrEnum):
    """The order of the axes of a batch of inputs."""

    NCHW = "NCHW"
    NHWC = "NHWC"


_NOT_IN_PIXEL_JSON = ("table", "unit_scale_assumed")
_LATER_FIELDS = {
    "channel_order": ChannelOrder.RGB,
    "corrections": None,
    "resize_width": None,
    "pad": PAD_VALUE,
}
"""Fields that older files lack, with their defaults, which are not written: one digest for both."""
_ENUMS: dict[str, type[StrEnum]] = {
    "resize_to": ResizeTo,
    "interpolation": Interpolation,
    "layout": Layout,
    "scale": PixelScale,
    "channel_order": ChannelOrder,
}
_MODES = {1: "L", 3: "RGB"}
SMALLEST_STD, LARGEST_NUMBER = 1e-6, 1e9
BYTE = 255.0
UNIT_SCALE_NOTE = (
    "mean and std were read on the scale 0 to 1, as all are at most 1; the key scale of the "
    'preprocessing, "0..255" or "0..1", decides it.'
)


@dataclass(frozen=True)
class Preprocess:
    """Steps in the order of the fields: convert, crop, resize, crop, `(pixel - mean) / std`.

    `mean` and `std` hold one number a channel on the scale of the pixels, 0 to 255; `from_json`
    also reads the scale 0 to 1. A step of None is left out. The orientation noted by a camera in a
    file (EXIF) is not applied, as in TensorFlow and torchvision.

    Attributes:
        channels: 1 (grey) or 3 (red, green, blue).
        crop_fraction: first a centred square of a part of the short side, above 0, at most 1.
        resize: pixels after the resize: of the short side, or the height of the input.
        resize_to: keep the proportions, stretch, or pad to `resize` x `resize_width`.
        interpolation: how the resize makes pixels.
        crop: last a centred square of so many pixels.
        mean: subtracted, one number a channel.
        std: divides after the mean, one number a channel.
        layout: the order of axes of the network's inputs.
        table: the meaning of columns if the data are a table; images need None.
        unit_scale_assumed: whether a file gave mean and std on the scale 0 to 1 without saying so.
        channel_order: BGR reverses three colours last; mean and std stay in the order RGB.
        corrections: what is put right of labels and of arrays of floats; None for nothing.
        resize_width: the width after a resize of both sides; None for that of `resize`.
        pad: the value of pixels beside an image that is padded, 0 to 255.

    Raises:
        DatasetError: a field has an impossible value.
    """

    channels: int = 3
    crop_fraction: float | None = None
    resize: int | None = None
    resize_to: ResizeTo = ResizeTo.SHORT_SIDE
    interpolation: Interpolation = Interpolation.BILINEAR
    crop: int | None = None
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    layout: Layout = Layout.NCHW
    table: TableColumns | None = None
    unit_scale_assumed: bool = field(default=False, compare=False)
    channel_order: ChannelOrder = ChannelOrder.RGB
    corrections: Corrections | None = None
    resize_width: int | None = None
    pad: int = PAD_VALUE

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.channels not in _MODES:
            raise DatasetError(f"channels must be 1 or 3, got {self.channels}.")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels or not all(map(math.isfinite, values)):
                raise DatasetError(
                    f"{name} must hold {self.channels} finite numbers, one a channel, got {values}."
                )
        if min(self.std) < SMALLEST_STD or max(map(abs, (*self.std, *self.mean))) > LARGEST_NUMBER:
            raise DatasetError(
                f"std must be {SMALLEST_STD:g} to {LARGEST_NUMBER:g} in every channel, and mean at "
                f"most that, on the scale of the pixels (0 to 255); got {self.std} and {self.mean}."
            )
        if self.crop_fraction is not None and not 0 < self.crop_fraction <= 1:
            raise DatasetError(
                f"crop_fraction must be above 0 and at most 1, got {self.crop_fraction}."
            )
        sizes = {"resize": self.resize, "resize_width": self.resize_width, "crop": self.crop}
        for name, size in sizes.items():
            if size is not None and not 1 <= size <= LARGEST_SIDE:
                raise DatasetError(f"{name} must be 1 to {LARGEST_SIDE} pixels, got {size}.")
        if self.resize_width is not None and (
            self.resize is None or self.resize_to is ResizeTo.SHORT_SIDE
        ):
            raise DatasetError(
                "resize_width goes with resize, the height, and with resize_to "
                f"{ResizeTo.BOTH_SIDES.value!r} or {ResizeTo.PADDED.value!r}; got resize "
                f"{self.resize} of the {self.resize_to.value}."
            )
        if not 0 <= self.pad <= BYTE:
            raise DatasetError(f"pad must be a pixel's value, 0 to 255, got {self.pad}.")

    @property
    def keeps_size(self) -> bool:
        """Whether images keep their height and width."""
        return self.crop_fraction is None and self.resize is None and self.crop is None

    @property
    def resizing(self) -> Resize | None:
        """The resize with height and width; None without one."""
        if self.resize is None:
            return None
        return Resize(self.resize, self.resize_width or self.resize, self.resize_to)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for users beside every answer; often empty."""
        return (UNIT_SCALE_NOTE,) if self.unit_scale_assumed else ()

    def preprocess_image(self, image: Image.Image | NDArray[np.uint8]) -> Tensor:
        """Return the input for an image: float32 (C, H, W), or (H, W, C) with NHWC.

        Args:
            image: a Pillow image of 8 bits a channel, or an array (H, W) or (H, W, C).

        Raises:
            DatasetError: the image has more than 8 bits a channel, or is smaller than `crop`.
        """
        shaped = self._reshape_image(pillow_image_of(image).convert(_MODES[self.channels]))
        pixels = np.array(shaped, dtype=np.uint8).reshape(shaped.height, shaped.width, -1)
        return self.scale_pixels(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]

    def scale_pixels(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, C, H, W), 0 to 255, to float32 inputs in the declared layout."""
        mean, std = (torch.tensor(v).reshape(-1, 1, 1) for v in (self.mean, self.std))
        inputs = (pixels.float() - mean) / std
        if self.channel_order is ChannelOrder.BGR:
            inputs = inputs.flip(1)
        if self.layout is Layout.NHWC:
            inputs = inputs.permute(0, 2, 3, 1)
        return inputs.contiguous()

    def to_json(self) -> str:
        """Return the fields as a JSON object; `table` only if present.

        `mean` and `std` are on 0 to 255; `scale` says so if `from_json` would otherwise read the
        numbers on 0 to 1.
        """
        if self.table is not None:
            return json.dumps({"table": self.table.to_dict()})
        values = dataclasses.asdict(self)
        for name in _NOT_IN_PIXEL_JSON:
            values.pop(name)
        for name, usual in _LATER_FIELDS.items():
            if getattr(self, name) == usual:
                values.pop(name)
        if _looks_like_unit_scale((*self.mean, *self.std)):
            values["scale"] = PixelScale.BYTES
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the steps written by `to_json`; absent fields keep the defaults.

        The key `scale` names the scale of `mean` and `std`, "0..255" or "0..1". Without the key,
        the scale is 0..1 if the given numbers are 0 to 1 and one lies strictly between (our
        choice): mean 0 and std 1 stay on 0..255, and leave pixels unchanged. `resize` may be a
        list of height and width.

        Raises:
            DatasetError: not JSON, an unknown key, or a value of the wrong type.
        """
        fields = _part_height_and_width(_parse_json_object(text))
        return cls(**_fields_at_byte_scale(_check_field_types(cls, fields)))

    def _reshape_image(self, image: Image.Image) -> Image.Image:
        """Crop, resize, crop; see the class."""
        if self.crop_fraction is not None:
            image = centre_square(image, max(1, int(min(image.size) * self.crop_fraction)))
        if self.resizing is not None:
            image = self.resizing.apply_to(image, self._pillow_filter(), self.pad)
        if self.crop is not None:
            if min(image.size) < self.crop:
                raise DatasetError(
                    f"An image must be at least crop = {self.crop} pixels on both sides, got "
                    f"{image.width} x {image.height}; resize first, or crop less."
                )
            image = centre_square(image, self.crop)
        return image

    def _pillow_filter(self) -> Image.Resampling:
        """Return Pillow's filter with the interpolation's name."""
        return Image.Resampling[self.interpolation.name]


def _looks_like_unit_scale(values: Sequence[float]) -> bool:
    """Tell whether means and deviations must be on 0 to 1: within 0 to 1, one strictly inside."""
    return all(0 <= value <= 1 for value in values) and any(0 < value < 1 for value in values)


def _fields_at_byte_scale(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields without `scale`, with `mean` and `std` on 0 to 255."""
    scale = fields.pop("scale", None)
    numbers: dict[str, tuple[float, ...]] = {
        name: fields[name] for name in ("mean", "std") if name in fields
    }
    looks = _looks_like_unit_scale([value for values in numbers.values() for value in values])
    if scale is PixelScale.BYTES or (scale is None and not looks):
        return fields
    scaled: dict[str, object] = {
        name: tuple(v * BYTE for v in values) for name, values in numbers.items()
    }
    return {**fields, **scaled, "unit_scale_assumed": scale is None}


def _parse_json_object(text: str) -> dict[str, object]:
    """Return the JSON object in `text`."""
    try:
        fields = parse_json(text)
    except JsonError as error:
        raise DatasetError(f"Preprocessing must be a JSON object, got bad JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise DatasetError(f"Preprocessing must be a JSON object, got {type(fields).__name__}.")
    return fields


def _part_height_and_width(fields: dict[str, object]) -> dict[str, object]:
    """Return the fields with a `resize` of height and width in its two fields."""
    both = fields.get("resize")
    if not isinstance(both, list):
        return fields
    if len(both) != 2 or "resize_width" in fields:
        raise DatasetError(
            f"resize must be a number of pixels, or [height, width], got {both!r}; correct it."
        )
    to = {"resize_to": ResizeTo.BOTH_SIDES, **fields}["resize_to"]
    return {**fields, "resize": both[0], "resize_width": both[1], "resize_to": to}


def _check_field_types(cls: type[Preprocess], fields: dict[str, object]) -> dict[str, object]:
    """Return the values in the types of the dataclass's fields."""
    known = {one.name for one in dataclasses.fields(cls)} - {"unit_scale_assumed"} | {"scale"}
    if unknown := sorted(fields.keys() - known):
        raise DatasetError(
            f"Preprocessing knows the keys {', '.join(sorted(known))}, got {', '.join(unknown)}; "
            "correct or remove them."
        )
    return {key: _typed_field_value(key, value) for key, value in fields.items()}


def _typed_field_value(key: str, value: object) -> object:
    """Return a JSON value in the type of the field, or raise DatasetError."""
    if (enum := _ENUMS.get(key)) is not None:
        if value not in list(enum):
            raise DatasetError(f"{key} must be one of {', '.join(enum)}, got {value!r}.")
        return enum(str(value))
    if key == "corrections":
        return None if value is None else Corrections.from_dict(value)
    if key == "table":
        return None if value is None else TableColumns.from_dict(value)
    if key in ("mean", "std"):
        if not isinstance(value, list) or not all(_is_json_number(v) for v in value):
            raise DatasetError(f"{key} must be a list of numbers, got {value!r}.")
        return tuple(float(v) for v in value)
    if key == "crop_fraction":
        if value is not None and not _is_json_number(value):
            raise DatasetError(f"{key} must be a number or null, got {value!r}.")
        return value
    may_lack = key not in ("channels", "pad")
    if (value is None and may_lack) or (isinstance(value, int) and value is not True):
        return value
    raise DatasetError(f"{key} must be a whole number, got {value!r}.")


def _is_json_number(value: object) -> bool:
    """Whether a JSON value is a number (true and false are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool)
