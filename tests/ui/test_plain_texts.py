"""No name, note or error from a file or a person reaches a text of Streamlit's as Markdown."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = {
    "badge", "button", "caption", "checkbox", "download_button", "error", "expander",
    "file_uploader", "form_submit_button", "header", "info", "link_button", "markdown", "metric",
    "multiselect", "number_input", "page_link", "pills", "popover", "progress", "radio",
    "segmented_control", "selectbox", "slider", "spinner", "status", "subheader", "success", "tabs",
    "text_input", "title", "toast", "toggle", "warning",
}  # fmt: skip
"""Methods whose first argument, label and help are Markdown."""
NAMES = {
    "answer", "cause", "config_name", "error", "file", "layer", "message", "metric", "model",
    "name",
    "names", "note", "path", "problem", "purpose", "reason", "rule", "select", "sentence", "shown",
    "source", "text", "title", "truth", "why",
}  # fmt: skip
"""The last words of expressions that hold what others wrote."""
OUR_OWN = {
    "sample.title", "form.title", "form.purpose", "check.title",
    # a measure of ours by its name: agreement, top-1, accuracy
    "name",
    "str(network.graph[layer].kind).capitalize()", "str(record.quantity).capitalize()",
}  # fmt: skip
"""Expressions of such names that hold our own words."""


def raw_texts(source: str) -> Iterator[str]:
    """Yield what reaches a text without `plain` and may come from others."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr not in TEXTS:
            continue
        keywords = [word.value for word in call.keywords if word.arg in ("label", "help", "body")]
        for text in (*call.args[:1], *keywords):
            yield from (f"line {call.lineno}: {raw}" for raw in raw_parts(text))


def raw_parts(text: ast.expr) -> Iterator[str]:
    """Yield the parts of a text that are neither numbers nor given through `plain`."""
    parts: list[ast.expr] = [text]
    if isinstance(text, ast.JoinedStr):
        parts = [
            part.value
            for part in text.values
            if isinstance(part, ast.FormattedValue) and part.format_spec is None
        ]
    for part in parts:
        shown = ast.unparse(part)
        if shown not in OUR_OWN and (shown.startswith("str(") or is_name(part)):
            yield shown


def is_name(part: ast.expr) -> bool:
    """Return whether an expression is one that holds what others wrote, by its last word."""
    last = part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "")
    return last.rpartition("_")[2] in NAMES or last in NAMES


def test_no_text_of_others_is_markdown() -> None:
    found = {
        str(path.relative_to(ROOT)): raw
        for part in ("ui", "pages", "app.py")
        for path in ([ROOT / part] if part == "app.py" else sorted((ROOT / part).rglob("*.py")))
        if (raw := list(raw_texts(path.read_text(encoding="utf-8"))))
    }
    assert found == {}


@pytest.mark.parametrize(
    "planted",
    [
        'st.caption(f"{run.name} is here")',
        "st.error(str(error))",
        "row.markdown(sentence)",
        'st.button("Go", help=f"Stop: {job.title}")',
        'column.metric(f"on {parts.score.name}", 1)',
    ],
)
def test_a_raw_name_is_found(planted: str) -> None:
    assert list(raw_texts(planted))


@pytest.mark.parametrize(
    "lawful", ['st.caption(f"{plain(run.name)}: {len(x)} of {share:.1f}")', 'st.error("Fixed.")']
)
def test_lawful_texts_pass(lawful: str) -> None:
    assert list(raw_texts(lawful)) == []
