"""Machine code for the search of the range with the least squared error.

A candidate is given up as soon as its error exceeds the least one so far, so most candidates cost
the first values only. Numba, of 60 MB, is imported with this module; import the module at the first
use.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quant.encoding import SMALLEST_SCALE

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Codes = tuple[int, int, bool, bool]
"""Least code, greatest code, whether the encoding is symmetric, and scales are powers of two."""
Ratios = tuple[Floats, Floats, Floats, Floats]
"""What multiplies both ends, one end, then both and one around the best range so far."""

BLOCK = 1024  # values between two looks at the least error
ANY_ORDER = {"reassoc", "nsz"}


@njit(cache=True, nogil=True, error_model="numpy")
def _encode_range(low: float, high: float, codes: Codes) -> tuple[np.float32, np.float32]:
    """Return scale and zero point of a range; repeats `quant.encoding.encode_range`."""
    qmin, qmax, symmetric, power_of_two = codes
    if symmetric:
        exact = high / qmax
        if qmin < 0:
            exact = max(exact, low / qmin)
    else:
        exact = (high - low) / (qmax - qmin)
    if exact < SMALLEST_SCALE:
        exact = 1.0
    if power_of_two:
        exact = 2.0 ** np.ceil(np.log2(exact) - 1e-9)
    scale = np.float32(exact)
    if symmetric:
        return scale, np.float32(0)
    zero_point = np.rint(qmin - low / np.float64(scale))
    return scale, np.float32(min(max(zero_point, qmin), qmax))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=ANY_ORDER)
def _block_error(
    values: Floats, scale: np.float32, low: np.float32, high: np.float32
) -> np.float32:
    """Return the squared error of values (K,) on the codes low ... high times the scale."""
    total = np.float32(0)
    for place in range(values.size):
        steps = np.rint(values[place] / scale)
        steps = max(steps, low)
        steps = min(steps, high)
        distance = steps * scale - values[place]
        total += distance * distance
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _row_error(
    values: Floats, scale: np.float32, low: np.float32, high: np.float32, most: float
) -> float:
    """Return the squared error of values (K,), or a number above `most` for a larger error."""
    total = 0.0
    for start in range(0, values.size, BLOCK):
        total += float(_block_error(values[start : start + BLOCK], scale, low, high))
        if total >= most:
            return total
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _integral(x: float, scale: float, low: float, high: float) -> float:
    """Return the integral of the squared error from 0 to x."""
    inside = min(max(x, low), high)
    step = np.rint(inside / scale)
    rest = inside - step * scale
    above, below = max(x - high, 0.0), max(low - x, 0.0)
    rounding = step * scale * scale * scale / 12 + rest * rest * rest / 3
    return float(rounding + above * above * above / 3 - below * below * below / 3)


@njit(cache=True, nogil=True, error_model="numpy")
def _histogram_error(
    counts: Doubles, edges: Doubles, scale: float, low: float, high: float, most: float
) -> float:
    """Return the squared error of a histogram, or a number above `most` for a larger error."""
    total: float = 0.0
    known, last = -1, 0.0  # `last` is the integral up to the edge `known`
    for place in range(counts.size):
        if counts[place] == 0:
            continue
        start, width = float(edges[place]), float(edges[place + 1] - edges[place])
        count = float(counts[place])
        if width > 1e-12 * scale:
            first = last if known == place else _integral(start, scale, low, high)
            last, known = _integral(edges[place + 1], scale, low, high), place + 1
            total += count * ((last - first) / width)
        else:
            nearest = min(max(float(np.rint(start / scale)) * scale, low), high)
            total += count * (start - nearest) ** 2
        if total >= most:
            return total
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _try_range(
    data: tuple[Floats, Doubles, Doubles],
    low: np.float32,
    high: np.float32,
    codes: Codes,
    best: tuple[float, np.float32, np.float32],
) -> tuple[float, np.float32, np.float32]:
    """Return the better of the range and the best so far, with its error."""
    values, counts, edges = data
    scale, zero_point = _encode_range(np.float64(low), np.float64(high), codes)
    least, greatest = np.float32(codes[0]) - zero_point, np.float32(codes[1]) - zero_point
    if values.size:
        error = _row_error(values, scale, least, greatest, best[0])
    else:
        error = _histogram_error(
            counts,
            edges,
            np.float64(scale),
            np.float64(least * scale),
            np.float64(greatest * scale),
            best[0],
        )
    return (error, low, high) if error < best[0] else best


@njit(cache=True, nogil=True, error_model="numpy")
def _search_range(
    data: tuple[Floats, Doubles, Doubles],
    low: np.float32,
    high: np.float32,
    codes: Codes,
    ratios: Ratios,
) -> tuple[float, np.float32, np.float32]:
    """Return the least error and its range, by the order of `search_best_range`."""
    both, one, fine_both, fine_one = ratios
    best = _try_range(data, low, high, codes, (np.inf, low, high))
    for ratio in both:
        best = _try_range(data, low * ratio, high * ratio, codes, best)
    if not codes[2]:
        for _ in range(2):  # the best place of one end depends on the other
            for ratio in one:
                best = _try_range(data, low, high * ratio, codes, best)
                best = _try_range(data, low * ratio, high, codes, best)
            low, high = best[1], best[2]
    for ratio in fine_both:
        best = _try_range(data, best[1] * ratio, best[2] * ratio, codes, best)
    if not codes[2]:
        for ratio in fine_one:
            best = _try_range(data, best[1] * ratio, best[2], codes, best)
            best = _try_range(data, best[1], best[2] * ratio, codes, best)
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def search_rows(rows: Floats, low: Floats, high: Floats, codes: Codes, ratios: Ratios) -> None:
    """Put the best range of each row (R, K) into `low` and `high` (R,), which hold the widest."""
    none = np.zeros(0)
    for row in range(len(rows)):
        data = (rows[row], none, none)
        _, low[row], high[row] = _search_range(data, low[row], high[row], codes, ratios)


@njit(cache=True, nogil=True, error_model="numpy")
def search_histograms(
    counts: Doubles, edges: Doubles, low: Floats, high: Floats, codes: Codes, ratios: Ratios
) -> None:
    """Put the best range of each histogram, counts (R, B), edges (R, B + 1), into `low`, `high`."""
    none = np.zeros(0, np.float32)
    for row in range(len(counts)):
        data = (none, counts[row], edges[row])
        _, low[row], high[row] = _search_range(data, low[row], high[row], codes, ratios)
