import pytest

from ui.widgets.markdown import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("W8A8 per-channel (95 % 1.0 to 2.0): fine", "W8A8 per-channel (95 % 1.0 to 2.0): fine"),
        ("![x](HTTP://a)", "!\\[x\\](HTTP:\u2060//a)"),
        ("www.a.b c@d.e", "www\u2060.a.b c@\u2060d.e"),
        ("**bold** _x_ `y`", r"\*\*bold\*\* \_x\_ \`y\`"),
        (":material/close: :red[x]", ":\u2060material/close: \\:red\\[x\\]"),
        (":+1: :smile:", ":\u2060+1: :\u2060smile:"),
        ("a -> b >= c -- d", "a -\u2060\\> b \\>\u2060= c -\u2060- d"),
        ("- item", r"\- item"),
        ("12. item", r"12\. item"),
        ("---", r"\---"),
        ("&lt;b> | x", r"\&lt;b\> \| x"),
        ("a\u202eb\x00", "a\ufffdb\ufffd"),
        ("<b>$x$</b>\n# y", r"\<b\>\$x\$\</b\> \# y"),
    ],
)
def test_no_mark_is_left(text: str, shown: str) -> None:
    assert plain(text) == shown
