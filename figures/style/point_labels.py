"""Positions of point labels, so that a label covers neither a label nor a point."""

from collections.abc import Iterator, Sequence

WIDE, HIGH = 0.055, 0.035  # half a label's size, as shares of the plot
PLACES = {
    "bottom center": (0.0, -1.5),
    "top center": (0.0, 1.5),
    "middle left": (-1.4, 0.0),
    "middle right": (1.4, 0.0),
}
"""The offset of a label's middle from the point, in halves of the label's size."""
NO_PLACE = "top center"
"""What Plotly is told as the position of an empty label."""
Spot = tuple[float, float]


def place_labels(
    points: Sequence[Spot], others: Sequence[Spot] = (), wide: float = WIDE
) -> list[str | None]:
    """Return a text position for each point; points are shares of the plot, 0 to 1.

    A label takes the position that covers no earlier label and the fewest points (including
    `others`); among equal positions the first counts. A label without such a position has None: a
    crowded plot names its first points. `wide` is half a label's width.
    """
    marks = [*points, *others]
    labels: list[Spot] = []
    names: list[str | None] = []
    for x, y in points:
        middles = {name: (x + wide * right, y + HIGH * up) for name, (right, up) in PLACES.items()}
        free = {name: at for name, at in middles.items() if not _covers_label(at, labels, wide)}
        best = min(
            free, key=lambda name: sum(_count_overlaps(free[name], marks, wide)), default=None
        )
        if best is not None:
            labels.append(free[best])
        names.append(best)
    return names


def _covers_label(label: Spot, labels: Sequence[Spot], wide: float) -> bool:
    x, y = label
    return any(abs(x - a) < 2 * wide and abs(y - b) < 2 * HIGH for a, b in labels)


def _count_overlaps(label: Spot, marks: Sequence[Spot], wide: float) -> Iterator[int]:
    """Yield 1 for a covered mark, and for a crossed border."""
    x, y = label
    yield from (int(abs(x - a) < wide + 0.01 and abs(y - b) < HIGH) for a, b in marks)
    yield int(not wide <= x <= 1 - wide) + int(not HIGH <= y <= 1 - HIGH)
