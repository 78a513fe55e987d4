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
Spot = tuple[float, float]


def place_labels(
    points: Sequence[Spot], others: Sequence[Spot] = (), wide: float = WIDE
) -> list[str]:
    """Return a text position for each point; points are shares of the plot, 0 to 1.

    A label takes the position that covers the fewest points (including `others`) and labels; among
    equal positions the first counts. `wide` is half a label's width.
    """
    marks = [*points, *others]
    labels: list[Spot] = []
    names = []
    for x, y in points:
        choices = {name: (x + wide * right, y + HIGH * up) for name, (right, up) in PLACES.items()}
        name = min(choices, key=lambda at: sum(_count_overlaps(choices[at], marks, labels, wide)))
        labels.append(choices[name])
        names.append(name)
    return names


def _count_overlaps(
    label: Spot, marks: Sequence[Spot], labels: Sequence[Spot], wide: float
) -> Iterator[int]:
    """Yield 1 for a covered mark or label, and for a crossed border."""
    x, y = label
    yield from (int(abs(x - a) < wide + 0.01 and abs(y - b) < HIGH) for a, b in marks)
    yield from (int(abs(x - a) < 2 * wide and abs(y - b) < 2 * HIGH) for a, b in labels)
    yield int(not wide <= x <= 1 - wide) + int(not HIGH <= y <= 1 - HIGH)
