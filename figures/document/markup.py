"""HTML that cannot be broken by a name: what is not marked as HTML is escaped."""

import html
import re
from collections.abc import Iterable, Sequence

SHORT = 10  # rows of a table that is kept on one page
_UNITS = r"%|[pnµm]?J|[nµm]?s|[KMG]?i?B|dB|points|bits|nm|MHz"
_BEFORE_UNIT = re.compile(rf"(?<=\d) (?=(?:{_UNITS})(?![A-Za-z]))")
_VERBATIM = ("pre", "code", "script", "style", "title")  # a space stays a space in these


class Html(str):
    """Text that is HTML already; everything else is escaped where it is put in."""

    __slots__ = ()


def safe(content: object) -> Html:
    """Return HTML as it is, anything else escaped."""
    return content if isinstance(content, Html) else Html(html.escape(str(content), quote=True))


def prose(content: object) -> Html:
    """Return anything as HTML; in text, a number stays on the line of its unit."""
    if isinstance(content, Html):
        return content
    return safe(_BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", str(content)))


def tag(name: str, *content: object, **attributes: object) -> Html:
    """Return an element; attributes are escaped, `class_` is written class, False is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not False
    )
    write = safe if name in _VERBATIM else prose
    return Html(f"<{name}{written}>{''.join(write(piece) for piece in content)}</{name}>")


def join(content: Iterable[object]) -> Html:
    """Return pieces one after the other, each escaped unless it is HTML."""
    return Html("".join(prose(piece) for piece in content))


def number(text: str, value: float | None) -> Html:
    """Return a rounded number that carries the exact one, for machines and for the pointer."""
    exact = "unknown" if value is None else repr(value)
    return tag("data", text, value=exact, title=exact)


def paragraph(*content: object) -> Html:
    """Return a paragraph."""
    return tag("p", *content)


def bullets(items: Iterable[object]) -> Html:
    """Return a list."""
    return tag("ul", *(tag("li", item) for item in items))


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    numeric: Sequence[int] = (),
    class_: str = "",
) -> Html:
    """Return a table; columns in `numeric` are set to the right. A short one breaks on no page."""
    rows = list(rows)
    classes = f"{class_}{' together' if len(rows) <= SHORT else ''}".strip()

    def cells(name: str, row: Sequence[object]) -> Html:
        return tag(
            "tr",
            *(
                tag(name, cell, class_="number" if place in numeric else False)
                for place, cell in enumerate(row)
            ),
        )

    body = join(cells("td", row) for row in rows)
    head = tag("thead", cells("th", heads))
    return tag("table", head, tag("tbody", body), class_=classes or False)


def facts(rows: Iterable[tuple[str, object]]) -> Html:
    """Return names and values beside each other."""
    found = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows]
    return tag("table", tag("tbody", *found), class_="facts together")
