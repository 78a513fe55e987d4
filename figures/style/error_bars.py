"""Error bars of a chart: the only place that knows how Plotly wants them."""

import math
from collections.abc import Sequence

Ends = tuple[float, float]


def interval_bars(
    values: Sequence[float | None],
    ends: Sequence[Ends | None],
    color: str | None = None,
    *,
    thickness: float = 1.5,
) -> dict[str, object]:
    """Return `error_x` or `error_y` of points with intervals; an interval of None has no bar.

    Nor has an infinite end, or a value of None. `ends` are low and high, in the unit of the axis.

    >>> interval_bars([2.0, 5.0], [(1.0, 4.0), None])["array"]
    [2.0, 0.0]
    """
    pairs = list(zip(values, ends, strict=True))
    bars: dict[str, object] = {
        "type": "data",
        "symmetric": False,
        "array": [_bar_length(value, end, 1) for value, end in pairs],
        "arrayminus": [_bar_length(value, end, 0) for value, end in pairs],
        "thickness": thickness,
        "width": 4,
    }
    return bars if color is None else {**bars, "color": color}


def _bar_length(value: float | None, ends: Ends | None, side: int) -> float:
    if value is None or ends is None or not math.isfinite(value) or not math.isfinite(ends[side]):
        return 0.0
    return abs(ends[side] - value)


def scaled_ends(ends: Ends | None, factor: float) -> Ends | None:
    """Return an interval in the unit of an axis.

    >>> scaled_ends((1.0, 2.0), 100.0)
    (100.0, 200.0)
    """
    return None if ends is None else (factor * ends[0], factor * ends[1])
