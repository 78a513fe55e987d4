"""Images as arrays of whole numbers: pixels of 0 to 255, read block by block."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from data_io.errors import DatasetError

_BLOCK_BYTES = 16 * 1024**2
_HIGHEST_PIXEL = 255


def holds_pixels(array: NDArray[np.generic]) -> bool:
    """Tell whether an array (N, ...) for a real input holds pixels of 0 to 255."""
    return array.dtype.kind in "iu"


def check_pixel_range(images: NDArray[np.generic], shown: str, name: str) -> None:
    """Raise unless whole numbers (N, ...) are pixels, which 8 bits hold without a loss."""
    if images.dtype == np.uint8:
        return
    ends = [(int(block.min()), int(block.max())) for block in blocks_of_array(images)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if low < 0 or high > _HIGHEST_PIXEL:
        raise DatasetError(
            f"Whole numbers of {name} in {shown} must be pixels of 0 to {_HIGHEST_PIXEL}, got "
            f"{images.dtype} from {low} to {high}. Scale them to pixels, or give floats that are "
            "ready for the network."
        )


def images_channels_first(images: NDArray[np.generic], shown: str) -> NDArray[np.generic]:
    """Return images of an accepted form as a view (N, C, H, W)."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    raise DatasetError(
        f"{images.dtype} inputs in {shown} must be images (N, H, W), (N, H, W, C) or (N, C, H, W) "
        f"with 1 or 3 channels, got shape {images.shape}."
    )


def items_per_block(array: NDArray[np.generic]) -> int:
    """Return the number of items in a block of about 16 MiB."""
    item_bytes = int(array.dtype.itemsize * array[0].size)
    return max(1, _BLOCK_BYTES // max(1, item_bytes))


def blocks_of_array(array: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    """Yield the array in blocks along the first axis."""
    length = items_per_block(array)
    for start in range(0, len(array), length):
        yield array[start : start + length]
