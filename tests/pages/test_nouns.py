"""Rows of a table are called rows on every page, not images."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from streamlit.testing.v1.element_tree import Block

from tests.pages.visit import RUNS, Visit, data_choice, leave_choices, model_choice
from ui.navigation import _PAGES

PAGES = [path for path, *_ in _PAGES]
UNREAD = {"id", "key", "formId", "elementId", "icon", "url"}
"""Fields of an element that nobody reads."""


def shown_texts(block: Block) -> Iterator[str]:
    """Yield every text of the elements of a block: bodies, labels, helps, figures, columns."""
    for child in block.children.values():
        if isinstance(child, Block):
            yield from shown_texts(child)
            continue
        yield from _texts_of(MessageToDict(child.proto))
        if child.type == "arrow_data_frame":
            yield " ".join(map(str, child.value.columns))


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts_of(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name not in UNREAD:
                yield from _texts_of(part)


@pytest.fixture
def tabular(runs: Any) -> Visit:
    """A tab on the sample that takes rows, after a run."""
    data = data_choice("letter", calibration=64)
    leave_choices(runs, model=model_choice("letter-mlp"), data=data)
    visit = Visit().wait()
    return visit.open(RUNS).press("Run").wait()


@pytest.mark.parametrize("page", PAGES)
def test_rows_are_called_rows_on_every_page(tabular: Visit, page: str) -> None:
    tabular.open(page).wait()
    texts = [
        text
        for place in (tabular.at.main, tabular.at.sidebar)
        for text in shown_texts(place)
        if "Licence: " not in text  # the cards of the other samples
    ]
    assert [text for text in texts if re.search(r"\bimages?\b", text, re.IGNORECASE)] == []
    if page == RUNS:
        assert any("Energy per row" in text for text in texts)
        assert any("200 rows" in text for text in texts)
