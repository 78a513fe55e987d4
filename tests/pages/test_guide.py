"""The guide opens over each page and names pages that there are."""

import re
from pathlib import Path

from streamlit.testing.v1.element_tree import Element

from tests.pages.visit import Visit
from ui import navigation
from ui.frame.guide import GUIDE


def test_the_guide_opens_from_the_side_bar(visit: Visit) -> None:
    visit.press("frame.guide")
    texts = [item for item in visit.at.get("markdown") if isinstance(item, Element)]
    words = " ".join(str(item.value) for item in texts)
    for way in ("Before deployment", "Debugging", "Presenting"):
        assert way in words


def test_the_guide_names_pages_that_there_are_and_small_pictures() -> None:
    text = GUIDE.read_text()
    source = Path(navigation.__file__).read_text()
    titles = set(re.findall(r'^ +"([A-Z][\w -]+)",$', source, re.MULTILINE))
    steps = set(re.findall(r"^\d\. \*\*([A-Z][\w -]+?)\.?\*\*", text, re.MULTILINE))
    assert steps - {"Run again, then Export", "Report", "Session"} <= titles
    pictures = re.findall(r"\]\((guide/[\w-]+\.png)\)", text)
    assert 0 < len(pictures) <= 9
    assert all((GUIDE.parent / name).stat().st_size < 150_000 for name in pictures)
