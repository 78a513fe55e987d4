"""The first page: the recommendation, three large plots, and the machine in words."""

import plotly.graph_objects as go

from accelerator.machine import machine_title
from analysis.evaluation.told_score import ScoreMeasure, told_score
from analysis.reporting.contents import Report
from analysis.runs.verdict import Level, Verdict, judge_run
from figures.cost.energy import energy_by_component
from figures.cost.wording import energy_text
from figures.document.markup import Html, bullet_list, html_element, paragraph
from figures.document.plots import plot_element
from figures.quality.accuracy import accuracy_against_energy, accuracy_with_interval
from figures.repair.waterfall import repair_waterfall
from figures.tradeoffs.report_front import trade_off_chart

LARGE_PX = 430
"""The height of a plot on the first page: a person reads the plot from across a table."""
_WORDS = {
    Level.DEPLOYABLE: ("Deploy", "go"),
    Level.REPAIR_FIRST: ("Repair first", "repair"),
    Level.NOT_DEPLOYABLE: ("Do not deploy", "no"),
    Level.UNDECIDED: ("Not decided yet", "open"),
}


def first_page(report: Report) -> Html:
    """Return the recommendation, the note of the author, three large plots, and the machine."""
    verdict = judge_report(report)
    return html_element(
        "section",
        _recommendation_box(verdict),
        *([html_element("p", report.note, class_="note")] if report.note else []),
        *(plot_element(figure, least_px=LARGE_PX) for figure in main_figures(report)),
        *([] if _shows_choices(report) else [paragraph(_NO_FRONT)]),
        paragraph(machine_sentence(report)),
        id="first-page",
    )


_NO_FRONT = "No front of other choices of bits was computed: whether less energy would do is open."


def judge_report(report: Report) -> Verdict:
    """Return the verdict on the run of a report."""
    model = report.model
    shape = () if model is None else model.output_shape
    return judge_run(report.run, shape[0] if len(shape) == 1 else None, report.others)


def main_figures(report: Report) -> list[go.Figure]:
    """Return the plots of the first page: accuracy by repair, the front, energy by component."""
    found = [_accuracy_figure(report)]
    if report.front is not None:
        found.append(trade_off_chart(report.front))
    elif report.others:
        found.append(accuracy_against_energy([report.run, *report.others]))
    found.append(energy_by_component(report.run.cost))
    return [figure for figure in found if figure is not None]


def _shows_choices(report: Report) -> bool:
    return report.front is not None or bool(report.others)


def _accuracy_figure(report: Report) -> go.Figure | None:
    steps = report.repairs
    if steps is not None:
        return repair_waterfall(steps.titles, steps.scores)
    told = told_score(report.run.evaluation)
    return None if told.measure is ScoreMeasure.SQNR else accuracy_with_interval([report.run])


def _recommendation_box(verdict: Verdict) -> Html:
    words, kind = _WORDS[verdict.level]
    return html_element(
        "div",
        html_element("h2", words, id="recommendation"),
        paragraph(verdict.sentence),
        bullet_list(f"{step.label}: {step.why}" for step in verdict.steps),
        class_=f"recommendation {kind}",
    )


def machine_sentence(report: Report) -> str:
    """Return the machine in words: technology, clock, and how far the energy is to be trusted."""
    machine, cost = report.machine, report.run.cost
    if machine is None:
        title = machine_title(cost.machine)
        return f"Energy and latency are estimates for {title}, whose file is not at hand."
    text = (
        f"Energy and latency are estimates for {machine.title}: {machine.technology_nm:g} nm, "
        f"{machine.clock_hz / 1e6:.0f} MHz. Energy per {cost.noun}: {energy_text(cost)}."
    )
    if machine.illustrative:
        text += " The maker published no energies, so compare configurations and not machines."
    return text
