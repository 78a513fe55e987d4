"""Safe HTML: text without an HTML mark is escaped."""

import html
import re
from collections.abc import Iterable, Sequence

SHORT = 10  # a table of at most so many rows stays on one page
_UNITS = r"%|[pnµm]?J|[nµm]?s|[KMG]?i?B|dB|points|bits|nm|MHz"
_BEFORE_UNIT = re.compile(rf"(?<=\d) (?=(?:{_UNITS})(?![A-Za-z]))")
_VERBATIM = ("pre", "code", "script", "style", "title")  # elements in which a space stays a space


class Html(str):
    """Finished HTML; other text is escaped on insertion."""

    __slots__ = ()


def safe_html(content: object) -> Html:
    """Return HTML unchanged, other content escaped."""
    return content if isinstance(content, Html) else Html(html.escape(str(content), quote=True))


def prose_html(content: object) -> Html:
    """Return content as HTML; in text, a number stays on the line of the number's unit."""
    if isinstance(content, Html):
        return content
    return safe_html(_BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", str(content)))


def html_element(name: str, *content: object, **attributes: object) -> Html:
    """Return an element with escaped attributes; `class_` becomes class, False is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not False
    )
    write = safe_html if name in _VERBATIM else prose_html
    return Html(f"<{name}{written}>{''.join(write(piece) for piece in content)}</{name}>")


def join_html(content: Iterable[object]) -> Html:
    """Return the pieces in order, each escaped unless already HTML."""
    return Html("".join(prose_html(piece) for piece in content))


def exact_number(text: str, value: float | None) -> Html:
    """Return a rounded number with the exact number as value and tooltip."""
    exact = "unknown" if value is None else repr(value)
    return html_element("data", text, value=exact, title=exact)


def paragraph(*content: object) -> Html:
    """Return a paragraph."""
    return html_element("p", *content)


def bullet_list(items: Iterable[object]) -> Html:
    """Return a bulleted list."""
    return html_element("ul", *(html_element("li", item) for item in items))


def html_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    numeric: Sequence[int] = (),
    class_: str = "",
) -> Html:
    """Return a table; columns in `numeric` are right-aligned. A short table stays on one page."""
    rows = list(rows)
    classes = f"{class_}{' together' if len(rows) <= SHORT else ''}".strip()

    def cells(name: str, row: Sequence[object]) -> Html:
        return html_element(
            "tr",
            *(
                html_element(name, cell, class_="number" if place in numeric else False)
                for place, cell in enumerate(row)
            ),
        )

    body = join_html(cells("td", row) for row in rows)
    head = html_element("thead", cells("th", heads))
    return html_element("table", head, html_element("tbody", body), class_=classes or False)


def facts_table(rows: Iterable[tuple[str, object]]) -> Html:
    """Return a table of names and values."""
    rows_of_facts = [
        html_element("tr", html_element("th", name, scope="row"), html_element("td", value))
        for name, value in rows
    ]
    return html_element("table", html_element("tbody", *rows_of_facts), class_="facts together")
