import pytest

from plain_files.read_json import JsonError, parse_json


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(JsonError, match="'bits' stands twice"):
        parse_json('{"rules": [{"bits": 8, "select": "*", "bits": 2}]}')
    assert parse_json('[{"bits": 8}, {"bits": 2}]') == [{"bits": 8}, {"bits": 2}]
