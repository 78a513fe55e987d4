"""The second page of a report: the flow of the diagnosis, box by box, and the causes."""

from collections.abc import Sequence
from itertools import groupby

from analysis.reporting.contents import Report
from analysis.reporting.flow_page import CauseLine, FlowLine
from figures.document.markup import Html, html_element, html_table, join_html, paragraph
from figures.style.units import format_energy

_MARKS = {"pass": "✓", "fail": "✗", "undecided": "?", "told": "•"}
_KINDS = {"pass": "go", "fail": "no", "undecided": "repair"}


def diagnosis_section(report: Report) -> Html:
    """Return the page of the diagnosis; nothing for a report without one."""
    page = report.flow
    if page is None:
        return Html("")
    boxes = join_html(
        join_html(
            (
                html_element("h3", stage),
                join_html(_step_box(step, page.noun) for step in group),
            )
        )
        for stage, group in groupby(page.steps, key=lambda step: step.stage)
    )
    return html_element(
        "section",
        html_element("h2", "Diagnosis", id="diagnosis"),
        paragraph(f"Goal: {page.goal}. {page.sentence}"),
        paragraph(page.advice) if page.advice else "",
        boxes,
        _causes_table(page.causes),
        class_="flow",
    )


def _step_box(step: FlowLine, noun: str) -> Html:
    facts = [step.measured] if step.measured else []
    facts.append(f"{step.seconds:.1f} s")
    if step.energy_pj is not None:
        facts.append(f"{format_energy(step.energy_pj)} per {noun}")
    if step.adopted is not None:
        facts.append("stays" if step.adopted else "is not used")
    return html_element(
        "div",
        html_element("strong", f"{_MARKS.get(step.outcome, '')} {step.name}"),
        f" ({step.outcome}). {step.sentence} ",
        html_element("span", " · ".join(facts), class_="soft"),
        class_=f"step {_KINDS.get(step.outcome, '')}".strip(),
    )


def _causes_table(causes: Sequence[CauseLine]) -> Html:
    if not causes:
        return Html("")
    rows = [
        (
            one.layer,
            one.side,
            one.cause,
            "not measured" if one.points is None else f"{one.points:.2f}",
            one.evidence,
            one.remedy,
        )
        for one in causes
    ]
    heads = ("layer", "side", "cause", "points lost alone", "evidence", "remedy")
    return join_html(
        (
            html_element("h3", "Causes, the most harmful first"),
            html_table(heads, rows, numeric=(3,)),
        )
    )
