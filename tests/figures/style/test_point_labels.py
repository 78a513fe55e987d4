"""Names of points beside each other are told apart."""

from figures.style.point_labels import HIGH, PLACES, WIDE, place_labels


def middles(
    points: list[tuple[float, float]], names: list[str | None]
) -> list[tuple[float, float]]:
    moves = [((x, y), PLACES[name]) for (x, y), name in zip(points, names, strict=True) if name]
    return [(x + WIDE * a, y + HIGH * b) for (x, y), (a, b) in moves]


def assert_apart(found: list[tuple[float, float]]) -> None:
    for i, (x, y) in enumerate(found):
        for a, b in found[:i]:
            assert abs(x - a) >= 2 * WIDE or abs(y - b) >= 2 * HIGH


def test_a_point_alone_has_its_name_below() -> None:
    assert place_labels([(0.5, 0.5)]) == ["bottom center"]
    assert place_labels([]) == []


def test_names_of_near_points_do_not_overlap() -> None:
    points = [(0.9, 0.9), (0.86, 0.88), (0.5, 0.5), (0.52, 0.5)]
    found = middles(points, place_labels(points))
    assert len(found) == len(points)
    assert_apart(found)


def test_of_crowded_points_the_first_are_named() -> None:
    points = [(0.5 + 0.001 * step, 0.5) for step in range(12)]
    places = place_labels(points)
    assert places[0] == "bottom center"
    assert 2 <= sum(place is not None for place in places) <= len(PLACES)
    assert_apart(middles(points, places))


def test_a_name_keeps_off_a_mark_and_within_the_plot() -> None:
    assert place_labels([(0.5, 0.5)], [(0.5, 0.46)]) != ["bottom center"]
    assert place_labels([(0.5, 0.01)]) != ["bottom center"]
