import pytest

from ui.widgets.markdown import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("W8A8 per-channel (95 % 1.0 to 2.0): fine", "W8A8 per-channel (95 % 1.0 to 2.0): fine"),
        ("![x](http://a)", r"!\[x\](http://a)"),
        ("**bold** _x_ `y`", r"\*\*bold\*\* \_x\_ \`y\`"),
        (":material/close: :red[x]", r"\:material/close: \:red\[x\]"),
        ("<b>$x$</b>\n# y", r"\<b\>\$x\$\</b\> \# y"),
    ],
)
def test_no_mark_is_left(text: str, shown: str) -> None:
    assert plain(text) == shown
