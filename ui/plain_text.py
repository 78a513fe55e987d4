"""Names as they are: Streamlit's texts are Markdown, and a name may look like it."""

import re

_MARKS = re.compile(r"([\\`*_{}\[\]<>#~$]|:(?=\w))")


def plain(text: str) -> str:
    """Return text that Markdown shows as it is: no link, image, formula or icon comes of it."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
