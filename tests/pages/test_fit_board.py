"""The form that fits a machine to a board: the fitted machine serves every page."""

import pytest

from accelerator.machine import load_preset
from tests.pages.visit import CONFIGURE, MODEL, RUNS, Visit
from ui.state.tradeoffs import FrontRequest

TRADEOFFS = "pages/tradeoffs.py"
ROWS = """\ufeffnetwork;latency_s;energy_j
ic;0,10949;0,0025652
kws;0,028995;0,00066442
ad;0,0032095;0,000077236
vww;0,0715;0,0016
"""


def look(page: Visit, name: str) -> Visit:
    page.at.segmented_control(key="configure.look").set_value(name)
    return page.run()


def fit(page: Visit, rows: str = ROWS) -> Visit:
    """Fit the present machine to rows of a file, as a spreadsheet with decimal commas writes it."""
    look(page, "Fit to my board")
    page.at.checkbox(key="configure.fit.accept").check()
    page.upload("configure.fit.file", "board.csv", rows.encode())
    return page.press("configure.fit.go")


@pytest.fixture
def fitted(visit: Visit) -> Visit:
    """Return Configure with a machine of costs per MAC, fitted from another structure."""
    page = fit(visit.open(CONFIGURE))
    assert page.errors == []
    assert page.work.machine.name == "my_board"
    assert page.work.machine.mac_costs.dense_pj > 0
    return page


def test_a_machine_with_costs_per_mac_serves_every_page(fitted: Visit) -> None:
    for name in ("Energy", "Difference", "One layer", "How far to trust it"):
        look(fitted, name)
    for page in (TRADEOFFS, RUNS, MODEL):
        fitted.open(page)
    fitted.open(RUNS).press("Run").wait()
    fitted.press("report.make").wait()
    assert fitted.errors == []


def test_another_network_keeps_the_fitted_machine(fitted: Visit) -> None:
    fitted.open(MODEL).press("model.use.letter-mlp").wait().wait()
    fitted.open(CONFIGURE)
    assert fitted.work.machine.name == "my_board"
    fitted.open(TRADEOFFS)


def test_the_next_visit_goes_on_with_the_fitted_machine(fitted: Visit) -> None:
    fitted.open(TRADEOFFS)
    once = fitted.work.machine
    again = Visit().open(CONFIGURE)
    assert again.work is not fitted.work
    assert again.work.machine == once
    again.choose("configure.machine.my_board", "edge_systolic_8b")
    again.choose("configure.machine.edge_systolic_8b", "my_board")
    again.open(TRADEOFFS)
    assert fit(again.open(CONFIGURE)).work.machine == once


def test_a_run_on_a_fitted_machine_is_loaded_without_that_machine(fitted: Visit) -> None:
    fitted.open(RUNS).press("Run").wait()
    again = Visit()
    again.work.machines.clear()
    again.work.set_machine(load_preset("edge_systolic_8b"))
    again.open(RUNS).press("runs.load")
    again.open(CONFIGURE)
    assert again.work.machine.name == "my_board"


def test_another_machine_of_the_last_question_may_be_gone(visit: Visit) -> None:
    visit.work.tradeoffs.wish = FrontRequest(others=("my_board", "gap9_ne16_like"))
    visit.open(TRADEOFFS)
    assert visit.at.multiselect(key="tradeoffs.others").value == ["gap9_ne16_like"]


def test_a_file_that_cannot_be_read_is_told_in_a_sentence(visit: Visit) -> None:
    page = look(visit.open(CONFIGURE), "Fit to my board")
    page.upload("configure.fit.file", "board.csv", b"network;latency_ms\nic;5\n")
    (error,) = page.errors
    assert error.startswith("A column must be latency_s; got latency_ms.")


def test_a_second_fit_does_not_count_the_rows_twice(fitted: Visit) -> None:
    once = fitted.work.machine
    again = fit(fitted).work.machine
    assert again == once
