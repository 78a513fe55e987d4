"""The whole document: head, sections in the order of a reader's questions, scripts."""

from pathlib import Path

from analysis.reporting.contents import Report
from figures.document.appendix import layers_section, reproduce_section
from figures.document.costs import cost_section, sources_section
from figures.document.diagnosis import diagnosis_section
from figures.document.first_page import first_page
from figures.document.markup import Html, bullet_list, html_element
from figures.document.plots import library_element
from figures.document.quality import accuracy_section, front_section, reasons_section
from figures.document.summary import (
    configuration_section,
    origin_sections,
    score_cards,
    summary_paragraph,
)

HERE = Path(__file__).parent
# The page may load nothing: the browser enforces this policy even if a name contains a link.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)


def render_report(report: Report) -> str:
    """Return a report as the text of a single HTML file, which loads nothing from outside."""
    run = report.run
    title = f"{run.model}: {run.name}"
    head = html_element(
        "head",
        Html('<meta charset="utf-8">'),
        html_element("title", f"Quantization report, {title}"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light">'),
        html_element("style", Html((HERE / "report.css").read_text(encoding="utf-8"))),
    )
    body = html_element("body", *_body_sections(report), library_element(), _script_element())
    return f'<!DOCTYPE html>\n<html lang="en">{head}{body}</html>\n'


def _script_element() -> Html:
    return html_element("script", Html((HERE / "report.js").read_text(encoding="utf-8")))


def _times_of_report(report: Report) -> str:
    author = f" by {report.author}" if report.author else ""
    measured, written = _format_time(report.run.created), _format_time(report.created)
    return f"Measured {measured}, written {written}{author}"


def _format_time(stamp: str) -> str:
    """Return a time of ISO 8601 in UTC without seconds; other text unchanged."""
    date, _, clock = stamp.partition("T")
    return f"{date} {clock[:5]} UTC" if clock.endswith("+00:00") else stamp


def _body_sections(report: Report) -> list[Html]:
    run = report.run
    return [
        html_element(
            "header",
            html_element("p", "Quantization report", class_="soft"),
            html_element("h1", f"{run.model}: {run.name}"),
            html_element("p", _times_of_report(report), class_="soft"),
        ),
        first_page(report),
        diagnosis_section(report),
        html_element("h2", "Laboratory notebook", id="notebook"),
        html_element(
            "p",
            "The plots could not be drawn: they need a browser of 2023 or later with scripts "
            "allowed. All numbers stand in the tables.",
            id="no-plots",
            class_="stop",
        ),
        Html("<noscript><style>#no-plots{display:block}</style></noscript>"),
        summary_paragraph(report),
        score_cards(report),
        origin_sections(report),
        accuracy_section(report),
        configuration_section(report),
        reasons_section(report),
        front_section(report),
        cost_section(report),
        html_element(
            "section",
            html_element("h2", "What was not measured", id="missing"),
            bullet_list(report.missing),
        ),
        reproduce_section(report),
        sources_section(report),
        layers_section(report),
        html_element("footer", html_element("p", "Made by QuantScope.", class_="soft")),
    ]
