"""A detector's and a segmenter's repairs are told in the metric of the task, up to the report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.evaluation.told_score import told_score
from quant.config import uniform_config
from quant.spec import Granularity
from tests.pages.visit import RUNS, Visit, data_choice, leave_choices, model_choice, wait_idle
from ui.navigation import DIAGNOSE, REPAIR
from ui.repair.form import EQUALIZE
from ui.runs.report import report_path, start_report


def choices(model: str, data: str) -> dict[str, Any]:
    return {
        "model": model_choice(model),
        "data": data_choice(data, calibration=16, samples=16),
        "config": uniform_config(5, 8, Granularity.PER_TENSOR).to_dict(),
        "config_name": "W5A8 per-tensor",
    }


def words_of_comparison(visit: Visit) -> str:
    """Return the words of the page of runs with the two newest runs ticked."""
    visit.at.session_state["runs.table"] = {"selection": {"rows": [0, 1], "columns": []}}
    return visit.run().words


@pytest.mark.parametrize(
    ("model", "data", "metric"),
    [
        ("fashion-detector", "fashion-boxes", "mAP"),
        ("fashion-segmenter", "fashion-masks", "mIoU"),
    ],
)
def test_repairs_of_a_task_are_told_in_its_metric_up_to_the_report(
    runs: Path, model: str, data: str, metric: str
) -> None:
    leave_choices(runs, **choices(model, data))
    visit = Visit().open(REPAIR)
    visit.at.multiselect(key="repair.recipe").set_value([EQUALIZE])
    visit.run().press("repair.run").wait()
    table = visit.at.dataframe[0].value
    assert f"{metric} %" in table
    assert not {"agreement %", "top-1 %"} & set(table)
    assert all(interval.endswith("%") for interval in table["95 % interval"])
    assert f"points of {metric}" in visit.words or f"leaves {metric} at" in visit.words
    assert "agreement" not in visit.words

    visit.open(DIAGNOSE)
    assert visit.at.number_input(key="diagnose.goal").label == (
        f"Points of {metric} that may be lost"
    )
    assert not visit.at.button(key="diagnose.start").disabled
    visit.open(REPAIR)

    visit.press("repair.keep")
    (run,) = visit.work.store.all_runs()
    told = told_score(run.evaluation)
    assert told.name == metric
    assert [step.told is not None and step.told.name for step in run.steps] == [metric] * 2
    assert list(table[f"{metric} %"])[-1] == pytest.approx(100 * told.value)

    visit.open(RUNS)
    assert visit.metric(f"Quantized {metric}").value.endswith("%")
    older = replace(run, id="older", name="older", evaluation=replace(run.evaluation, metric=None))
    visit.work.store.save_run(older)
    words = words_of_comparison(visit)
    assert f"Not every run was scored by {metric}: compared is output SQNR, of all." in words

    visit.work.store.save_run(replace(run, id="older", name="again"))
    words = words_of_comparison(visit)
    assert f"makes no measurable difference in {metric}" in words
    assert ("boxes from a score of" in words) == (metric == "mAP")
    start_report(visit.work, run)
    wait_idle(visit.work)
    text = report_path(visit.work, run).read_text(encoding="utf-8")
    first = text.split('id="first-page"')[1].split("</section>")[0]
    assert f"{metric} (%), higher is better" in text
    assert f"points of {metric}" in first
    assert "Agreement with float" not in first
    assert "The recipe " in first
