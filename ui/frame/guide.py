"""The guide of docs/guide.md in the app: three short ways, with pictures."""

import re
from pathlib import Path

import streamlit as st

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
_PICTURE = re.compile(r"^!\[(?P<words>.*)\]\((?P<file>guide/[a-z-]+\.png)\)$", re.MULTILINE)


def guide_button() -> None:
    """Show a button that opens the guide over the page."""
    if st.button("Guide", key="frame.guide", icon=":material/help:", width="stretch"):
        _open_guide()


@st.dialog("Guide", width="large", icon=":material/help:")
def _open_guide() -> None:
    pieces = _PICTURE.split(GUIDE.read_text(encoding="utf-8"))
    for words, picture, caption in zip(pieces[::3], pieces[2::3], pieces[1::3], strict=False):
        st.markdown(words)
        file = GUIDE.parent / picture
        if file.is_file():
            st.image(file, width="stretch", alt=caption)
    st.markdown(pieces[-1])
