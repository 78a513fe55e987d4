"""The number of images that decides an open question."""

from collections.abc import Callable

from analysis.evaluation.measures import Interval

MOST_IMAGES = 1_000_000
"""More images than this are not advised (our choice): the value is too close to the limit."""


def images_needed(images: int, at: Callable[[int], Interval], limit: float) -> int | None:
    """Return the rounded number of images at which an interval leaves a limit; None if too large.

    `images` is the present number; `at` gives the interval for a larger number of images of the
    present kind. The result has two digits that are not 0.

    >>> images_needed(100, lambda n: Interval(1 - 10 / n, 1 + 10 / n), limit=1.05)
    210
    """
    while images <= MOST_IMAGES:
        images += max(1, images // 20)
        interval = at(images)
        if interval.high <= limit or interval.low > limit:
            tens: int = 10 ** max(0, len(str(images)) - 2)
            return -(-images // tens) * tens
    return None
