"""Numbers for JSON, where infinity is unknown."""

import math

from analysis.evaluation.measures import Interval


def finite_or_none(value: float | None) -> float | None:
    """Return a finite value; None for an infinite or unknown value."""
    return value if value is not None and math.isfinite(value) else None


def interval_bounds(interval: Interval | None) -> list[float | None] | None:
    """Return [low, high] of an interval, with None for an infinite bound; None without interval."""
    if interval is None:
        return None
    return [finite_or_none(interval.low), finite_or_none(interval.high)]
