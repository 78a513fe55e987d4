"""The usual scalings of pixels for the training of networks."""

from dataclasses import dataclass

from data_io.preprocessing import BYTE


@dataclass(frozen=True, slots=True)
class PixelScaling:
    """A mean and a standard deviation, one number a channel, on the scale 0 to 255 of pixels.

    Attributes:
        title: name of the scaling in a sentence.
        short: name of the scaling on a button.
        mean: subtracted from pixels.
        std: divides pixels after the mean.
    """

    title: str
    short: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


# torchvision's numbers, red, green, blue, on the scale 0 to 1
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixel_scalings(channels: int) -> tuple[PixelScaling, ...]:
    """Return the common scalings for images of `channels` channels; ImageNet's needs three."""
    n = channels
    found = (
        PixelScaling("pixels of 0 to 1", "0 to 1", (0.0,) * n, (BYTE,) * n),
        PixelScaling("pixels of -1 to 1", "-1 to 1", (BYTE / 2,) * n, (BYTE / 2,) * n),
        PixelScaling("raw pixels of 0 to 255", "Raw, 0 to 255", (0.0,) * n, (1.0,) * n),
    )
    if channels != len(_IMAGENET_MEAN):
        return found
    mean, std = (
        tuple(value * BYTE for value in values) for values in (_IMAGENET_MEAN, _IMAGENET_STD)
    )
    return (PixelScaling("ImageNet's mean and std", "ImageNet", mean, std), *found)
