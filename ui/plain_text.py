"""Names shown literally: Streamlit's texts are Markdown, and a name may contain Markdown.

A backslash before a mark is enough for Markdown itself. Streamlit also looks for icons, emoji,
arrows and addresses in the text behind the marks; an invisible word joiner ends these patterns.
"""

import re

JOINER = "\u2060"
"""A character without width, which breaks no line."""
_MARKS = re.compile(r"([\\`*_{}\[\]<>#~$&|]|:(?=\w))")
_LIST = re.compile(r"^(\d{0,9})([-+.)])")
_HIDDEN = re.compile(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that reverse the order of what follows."""
_PATTERNS = re.compile(
    r"(?::(?=[-+\w/]+:)|(?:https?|ftp):(?=//)|www(?=\.)|@(?=[-\w])"
    r"|(?<!\S)[-<>~](?=(?:->?|[-=>])(?!\S)))",
    re.IGNORECASE,
)
"""The first part of an icon or emoji, an address, an arrow or a sign such as >=."""


def plain(text: str) -> str:
    r"""Return text that Markdown shows literally, without links, images, formulas or icons.

    Example:
        >>> plain("a_b [c]")
        'a\\_b \\[c\\]'
    """
    shown = _HIDDEN.sub("\ufffd", " ".join(text.split()))
    shown = _PATTERNS.sub(lambda found: found.group() + JOINER, shown)
    return _LIST.sub(r"\1\\\2", _MARKS.sub(r"\\\1", shown))
