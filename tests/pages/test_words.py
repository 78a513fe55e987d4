"""The words on screen: the same for the same thing, and explained where they first stand."""

import pytest

from tests.pages.visit import Visit
from ui.widgets import explain


@pytest.mark.parametrize(
    ("page", "word"),
    [
        ("sensitivity", explain.SQNR),
        ("ranges", explain.ENCODING),
        ("repair", explain.RECIPE),
    ],
)
def test_a_word_of_the_field_is_explained_where_it_first_stands(
    visit: Visit, page: str, word: str
) -> None:
    visit.open(f"pages/{page}.py")
    assert word in [caption.proto.help for caption in visit.at.caption]


@pytest.mark.parametrize("page", ["model", "sensitivity", "ranges", "repair", "configure", "runs"])
def test_no_page_says_grid_or_guilty(visit: Visit, page: str) -> None:
    words = visit.open(f"pages/{page}.py").words.lower()
    assert "grid" not in words
    assert "guilt" not in words
