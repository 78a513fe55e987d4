"""Names shown literally: Streamlit's texts are Markdown, and a name may contain Markdown."""

import re

_MARKS = re.compile(r"([\\`*_{}\[\]<>#~$]|:(?=\w))")


def plain(text: str) -> str:
    """Return text that Markdown shows literally, without links, images, formulas or icons."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
