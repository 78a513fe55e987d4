"""Error bars: lengths from ends, and no bar where nothing is known."""

import math

from figures.style.error_bars import interval_bars, scaled_ends


def test_lengths_reach_from_the_value_to_the_ends() -> None:
    bars = interval_bars([2.0, 5.0], [(1.5, 4.0), (5.0, 5.5)], "#123456", thickness=2)
    assert (bars["arrayminus"], bars["array"]) == ([0.5, 0.0], [2.0, 0.5])
    assert (bars["color"], bars["thickness"], bars["symmetric"]) == ("#123456", 2, False)


def test_what_is_not_known_has_no_bar() -> None:
    ends = [None, (1.0, math.inf), (math.nan, 3.0), (0.0, 1.0), (0.0, math.inf)]
    bars = interval_bars([1.0, 2.0, 2.0, None, math.inf], ends)
    assert bars["array"] == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert bars["arrayminus"] == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert "color" not in bars


def test_ends_take_the_unit_of_the_axis() -> None:
    assert scaled_ends((2.0, 3.0), 10.0) == (20.0, 30.0)
    assert scaled_ends(None, 10.0) is None
