"""The page Diagnose: boxes with pass and fail, the conclusion, one click to use it."""

from pathlib import Path

import pytest

from analysis.diagnosis.flow.goal import Goal
from analysis.diagnosis.flow.run_diagnosis import DiagnosisTask, run_diagnosis
from quant.passes.equalize import Equalize
from tests.pages.test_repair import IMBALANCED
from tests.pages.visit import Visit, leave_choices
from ui.navigation import DIAGNOSE


@pytest.fixture
def visit(runs: Path) -> Visit:
    leave_choices(runs, **IMBALANCED)
    return Visit().open(DIAGNOSE)


def test_the_flow_ends_with_a_recipe_that_one_click_uses(visit: Visit) -> None:
    assert "No diagnosis has run yet" in visit.words
    visit.at.number_input(key="diagnose.goal").set_value(5.0)
    visit.run().press("diagnose.start").wait()
    found = visit.work.diagnosis.found
    assert found is not None
    assert found.met
    assert any("equalized keeps the goal" in box.value for box in visit.at.success)
    for words in ("Everything at 32 bits", "Weights alone", "Equalize across layers", "fail"):
        assert words in visit.words
    causes = visit.at.dataframe[0].value
    assert set(causes["cause"]) == {"unequal channel ranges"}
    assert "Weights: unequal channel ranges in " in visit.words.replace("**", "")
    assert "side" not in causes, "the heading of the table tells the side"
    assert len(visit.at.get("plotly_chart")) == 1
    assert {run.name for run in visit.work.store.all_runs()} >= {"Diagnose: as configured"}
    visit.press("diagnose.use")
    assert [type(step) for step in visit.work.experiment.recipe] == [Equalize]
    assert visit.at.button(key="diagnose.use").disabled
    assert "what is chosen now differs" not in visit.words


def test_a_diagnosis_that_ended_early_shows_its_boxes_and_goes_on(visit: Visit) -> None:
    work = visit.work
    assert work.job_study is not None
    task = DiagnosisTask(work.job_study, work.experiment, Goal(5.0), work.own_store)
    steps = run_diagnosis(task)
    while len(task.board) < 2:
        next(steps)
    steps.close()
    work.diagnosis.task = task
    visit.run()
    assert "ended early" in visit.words
    assert "Everything at 32 bits" in visit.words
    visit.press("diagnose.start").wait()
    found = visit.work.diagnosis.found
    assert found is not None
    assert found.steps[1].resumed
