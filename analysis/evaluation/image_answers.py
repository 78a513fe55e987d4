"""The right answers as one bit for an image, so that two runs compare in pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.errors import QuantError


@dataclass(frozen=True, slots=True)
class ImageAnswers:
    """The answers to N images in order, a bit for an image, as hexadecimal text.

    `agrees` marks equal classes of both networks. `float_right` and `right` mark right answers of
    the float and the quantized network; empty without labels.
    """

    agrees: str
    float_right: str = ""
    right: str = ""


def pack_bits(flags: NDArray[np.bool_]) -> str:
    """Return flags (N,) as hexadecimal text.

    >>> pack_bits(np.array([True, False, True]))
    'a0'
    """
    return np.packbits(flags).tobytes().hex()


def unpack_bits(text: str, count: int) -> NDArray[np.bool_]:
    """Return the flags (`count`,) in a text of `pack_bits`.

    Raises:
        QuantError: the text holds another number of flags.
    """
    try:
        packed = np.frombuffer(bytes.fromhex(text), np.uint8)
    except ValueError:
        packed = np.zeros(0, np.uint8)
    if len(packed) != -(-count // 8):
        raise QuantError(
            f"The answers of a run must hold a bit for each of its {count} images; got "
            f"{8 * len(packed)}. Score the run again."
        )
    return np.unpackbits(packed, count=count).astype(np.bool_)


def count_changes(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the images (lost, won): right only before, and right only after."""
    return int((before & ~after).sum()), int((after & ~before).sum())
