"""Where the names of points go, so that none covers another or a point."""

from collections.abc import Iterator, Sequence

WIDE, HIGH = 0.055, 0.035  # half a label's size, as shares of the plot
PLACES = {
    "bottom center": (0.0, -1.5),
    "top center": (0.0, 1.5),
    "middle left": (-1.4, 0.0),
    "middle right": (1.4, 0.0),
}
"""Where a label's middle is from its point, in halves of its size."""
Spot = tuple[float, float]


def place_labels(
    points: Sequence[Spot], others: Sequence[Spot] = (), wide: float = WIDE
) -> list[str]:
    """Return a text position for each point; all are given as shares of the plot, 0 to 1.

    Labels are placed one after the other where they cover the fewest points, `others` among them,
    and labels; of equal places the first counts. `wide` is half a label's width.
    """
    marks = [*points, *others]
    labels: list[Spot] = []
    names = []
    for x, y in points:
        choices = {name: (x + wide * right, y + HIGH * up) for name, (right, up) in PLACES.items()}
        name = min(choices, key=lambda at: sum(_covered(choices[at], marks, labels, wide)))
        labels.append(choices[name])
        names.append(name)
    return names


def _covered(
    label: Spot, marks: Sequence[Spot], labels: Sequence[Spot], wide: float
) -> Iterator[int]:
    """Yield 1 for each mark or label that is covered, and for each border that is crossed."""
    x, y = label
    yield from (int(abs(x - a) < wide + 0.01 and abs(y - b) < HIGH) for a, b in marks)
    yield from (int(abs(x - a) < 2 * wide and abs(y - b) < 2 * HIGH) for a, b in labels)
    yield int(not wide <= x <= 1 - wide) + int(not HIGH <= y <= 1 - HIGH)
