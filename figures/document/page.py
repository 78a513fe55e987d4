"""The whole document: head, sections in the order of the questions a reader has, scripts."""

from pathlib import Path

from analysis.reporting.contents import Report
from figures.document.appendix import layers_section, reproduce_section
from figures.document.costs import cost_section, sources_section
from figures.document.markup import Html, bullets, tag
from figures.document.plots import library_element
from figures.document.quality import accuracy_section, front_section, reasons_section
from figures.document.summary import cards, configuration_section, origin_sections, summary

HERE = Path(__file__).parent
# Nothing may be fetched: what a browser is told here holds even if a name slipped through.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)


def render(report: Report) -> str:
    """Return a report as the text of one HTML file, which loads nothing from anywhere."""
    run = report.run
    title = f"{run.model}: {run.name}"
    head = tag(
        "head",
        Html('<meta charset="utf-8">'),
        tag("title", f"Quantization report, {title}"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light">'),
        tag("style", Html((HERE / "report.css").read_text(encoding="utf-8"))),
    )
    body = tag("body", *_body(report), library_element(), _script())
    return f'<!DOCTYPE html>\n<html lang="en">{head}{body}</html>\n'


def _script() -> Html:
    return tag("script", Html((HERE / "report.js").read_text(encoding="utf-8")))


def _when(report: Report) -> str:
    return f"Measured {_time(report.run.created)}, written {_time(report.created)}"


def _time(stamp: str) -> str:
    """Return a time of ISO 8601 in UTC without seconds; anything else as it is."""
    date, _, clock = stamp.partition("T")
    return f"{date} {clock[:5]} UTC" if clock.endswith("+00:00") else stamp


def _body(report: Report) -> list[Html]:
    run = report.run
    return [
        tag(
            "header",
            tag("p", "Quantization report", class_="soft"),
            tag("h1", f"{run.model}: {run.name}"),
            tag("p", _when(report), class_="soft"),
        ),
        tag(
            "p",
            "The plots could not be drawn: they need a browser of 2023 or later with scripts "
            "allowed. All numbers stand in the tables.",
            id="no-plots",
            class_="stop",
        ),
        Html("<noscript><style>#no-plots{display:block}</style></noscript>"),
        summary(report),
        cards(report),
        origin_sections(report),
        accuracy_section(report),
        configuration_section(report),
        reasons_section(report),
        front_section(report),
        cost_section(report),
        tag("section", tag("h2", "What was not measured", id="missing"), bullets(report.missing)),
        reproduce_section(report),
        sources_section(report),
        layers_section(report),
        tag("footer", tag("p", "Made by QuantScope.", class_="soft")),
    ]
