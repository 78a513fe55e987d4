import pytest

from plain_files.read_json import JsonError, parse_json


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(JsonError, match="'bits' stands twice"):
        parse_json('{"rules": [{"bits": 8, "select": "*", "bits": 2}]}')
    assert parse_json('[{"bits": 8}, {"bits": 2}]') == [{"bits": 8}, {"bits": 2}]


def test_the_name_that_stands_twice_is_found_among_many_at_once() -> None:
    names = ", ".join(f'"{number}": 0' for number in range(100_000))  # squared, that is minutes
    with pytest.raises(JsonError, match="'99999' stands twice"):
        parse_json(f'{{{names}, "99999": 1}}')
