"""Values of an encodings file, checked: names, scales, zero points."""

import math

import numpy as np
from numpy.typing import NDArray

SMALLEST, LARGEST = 2.0**-126, 3.0e38
"""Normal float32: dividing by less, or multiplying by more, overflows."""
MOST_BITS = 32
_LONGEST_NAME = 400


class Unreadable(ValueError):  # noqa: N818  never leaves this package: a sentence grows around it
    """The missing requirement of an encoding; the text follows the tensor's name in a sentence."""


def readable_tensor_name(name: object) -> str:
    """Return a tensor's name."""
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise Unreadable("must have a name of at most 400 characters")
    return name


def read_whole_number(value: object, what: str, least: int, most: int) -> int:
    """Return a whole number within bounds."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or int(number) != number:
        raise Unreadable(f"must have a whole number as {what}, got {str(value)[:40]}")
    if not least <= number <= most:
        raise Unreadable(f"must have {what} from {least} to {most}, got {str(value)[:40]}")
    return int(number)


def read_number_array(value: object, what: str) -> NDArray[np.float64]:
    """Return a number or nested lists of numbers as an array."""
    try:
        found = np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        found = np.zeros(0)
    if found.size == 0 or found.dtype != np.float64 or not np.isfinite(found).all():
        raise Unreadable(f"must have finite numbers as {what}")
    return found


def read_positive_scales(value: object, what: str) -> NDArray[np.float32]:
    """Return positive scales as float32."""
    found = read_number_array(value, what)
    if not ((found >= SMALLEST) & (found <= LARGEST)).all():
        raise Unreadable(f"must have positive, normal float32 numbers as {what}")
    return found.astype(np.float32)


def read_zero_points(value: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return zero points of the given shape: zeros for None, else one value or a value a scale."""
    found = np.zeros(()) if value is None else read_number_array(value, "zero points")
    if found.size not in (1, math.prod(shape)):
        raise Unreadable(f"must have as many zero points as scales, got {found.size}")
    return np.broadcast_to(found.reshape(shape if found.size > 1 else ()), shape)


def zero_missing_reason(tensor: str) -> str:
    """Return the reason why QuantScope cannot use an encoding without zero."""
    return (
        f"Zero must be exact, got an encoding of {tensor!r} that is shifted by a part of a step. "
        "Choose its encoding here instead."
    )
