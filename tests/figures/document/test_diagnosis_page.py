"""The second page of the report: the flow of the diagnosis."""

from dataclasses import replace

from analysis.reporting.flow_page import CauseLine, FlowLine, FlowPage
from figures.document import render_report
from figures.document.diagnosis import diagnosis_section
from tests.figures.document.test_document import HOSTILE, contents

STEP = FlowLine(
    "Repair", "Equalize", "pass", "Brings 20 points.", "0.5 points", 3.0, 2e6, adopted=True
)
PAGE = FlowPage(
    "at most 1 point lost",
    met=True,
    sentence="Equalized keeps the goal.",
    advice="",
    steps=(STEP, replace(STEP, name="AdaRound", outcome="fail", adopted=False, energy_pj=None)),
    causes=(CauseLine("stem.0", "weights", "unequal ranges", "100 times", "Equalize", None),),
)


def test_the_flow_stands_between_the_first_page_and_the_notebook() -> None:
    text = render_report(replace(contents(), flow=PAGE))
    places = [text.index(f'id="{name}"') for name in ("recommendation", "diagnosis", "notebook")]
    assert places == sorted(places)
    for told in ("Goal: at most", "Equalized keeps", "stays", "is not used", "unequal ranges"):
        assert told in text
    assert 'class="step go"' in text
    assert 'class="step no"' in text


def test_without_a_diagnosis_there_is_no_second_page() -> None:
    assert diagnosis_section(contents()) == ""
    assert 'id="diagnosis"' not in render_report(contents())


def test_names_in_a_flow_are_escaped() -> None:
    step = replace(STEP, name=HOSTILE, sentence=HOSTILE)
    hostile = replace(PAGE, steps=(step,), sentence=HOSTILE)
    assert "<script>alert(1)" not in diagnosis_section(replace(contents(), flow=hostile))
