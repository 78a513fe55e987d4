"""The report on the page of runs: made beside the page, downloaded, looked at."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.cost.quantity import Quantity
from analysis.evaluation.measures import Interval
from analysis.mixed_precision.pareto_front import Front
from analysis.runs.experiment_file import experiment_from_plain, experiment_to_plain
from analysis.runs.run_store import RunStep
from quant.config import uniform_config
from quant.passes.equalize import Equalize
from tests.pages.visit import RUNS, Visit, wait_idle
from ui.runs.forms import start_run
from ui.runs.report import report_path, start_report
from ui.session.open_session import open_session, present_session


@pytest.fixture
def ran(visit: Visit) -> Visit:
    """The page of runs after one run, whose name is hostile."""
    visit.work.set_config(uniform_config(4, 8))
    start_run(visit.work, "<script>../x</script>")
    wait_idle(visit.work)
    return visit.open(RUNS)


def file_of(visit: Visit) -> Path:
    return report_path(visit.work, visit.work.store.all_runs()[0])


def test_it_is_made_downloaded_and_looked_at(ran: Visit) -> None:
    assert not file_of(ran).exists()
    ran.press("report.make").wait()
    text = file_of(ran).read_text(encoding="utf-8")
    run = ran.work.store.all_runs()[0]
    assert repr(run.evaluation.quantized_top1) in text
    assert "&lt;script&gt;../x" in text
    assert file_of(ran).parent == ran.work.folder
    labels = [b.proto.label for b in ran.at.get("download_button")]
    assert any(label.startswith("Download (") for label in labels)
    assert not ran.at.get("iframe")
    ran.at.toggle[0].set_value(True)
    ran.run()
    assert len(ran.at.get("iframe")) == 1


def test_it_tells_model_ranges_and_how_to_repeat_it(ran: Visit) -> None:
    ran.press("report.make").wait()
    text = file_of(ran).read_text(encoding="utf-8")
    assert "Ranges of activations were not examined" not in text
    assert "python cli.py evaluate --model fashion-mobilenet --samples 200" in text
    network = ran.work.network
    assert network is not None
    assert f'value="{network.parameters}"' in text


def test_the_first_page_of_a_repaired_run_draws_its_repairs(ran: Visit) -> None:
    """And the notebook has the bits and the recipe of the run, not of what is chosen now."""
    (run,) = ran.work.store.all_runs()
    assert run.experiment is not None
    record = experiment_from_plain(run.experiment)
    ends = Interval(0.1, 0.2)
    repaired = replace(
        run,
        id="repaired",
        created="2999-01-01T00:00:00+00:00",
        recipe=("Equalize",),
        steps=(RunStep("Plain quantization", 0.15, ends, 1.0), RunStep("Equalize", 0.9, ends, 9.0)),
        experiment=experiment_to_plain(record.experiment.with_recipe((Equalize(),))),
    )
    ran.work.store.save_run(repaired)
    ran.work.set_config(uniform_config(2, 2))
    start_report(ran.work, repaired)
    wait_idle(ran.work)
    text = report_path(ran.work, repaired).read_text(encoding="utf-8")
    first = text.split('id="first-page"')[1].split("</section>")[0]
    assert "The recipe brings 75.00 points" in first
    assert "--equalize" in text
    assert set(re.findall(r"(\d)-bit (?:weights|activations)", text)) <= {"4", "8"}
    assert "4-bit weights" in text


def test_a_session_that_is_looked_at_shows_the_presenters_view(ran: Visit) -> None:
    """The verdict first, then accuracy and energy, large; the rest of the page stands below."""
    open_session(ran.work, present_session(ran.work), look=True)
    ran.run()
    accuracy, energy, *_ = ran.at.get("plotly_chart")  # neither front nor second run is there
    for chart in (accuracy, energy):
        assert json.loads(chart.proto.spec)["layout"]["height"] >= 480
    boxes = [*ran.at.error, *ran.at.warning, *ran.at.success]
    assert any("points of top-1" in box.value for box in boxes)
    assert "are estimates for" in ran.words


def test_a_renamed_run_has_no_report_yet(ran: Visit) -> None:
    ran.press("report.make").wait()
    run = ran.work.store.all_runs()[0]
    ran.work.store.rename_run(run.id, "other")
    assert not file_of(ran).exists()


def test_a_run_of_another_model_is_reported_without_it(ran: Visit) -> None:
    run = ran.work.store.all_runs()[0]
    ran.work.forget_model()
    start_report(ran.work, run)
    wait_idle(ran.work)
    assert "The model was not loaded" in file_of(ran).read_text(encoding="utf-8")


def test_a_session_that_is_only_looked_at_has_reports_too(ran: Visit) -> None:
    open_session(ran.work, present_session(ran.work), look=True)
    ran.run().press("report.make").wait()
    assert file_of(ran).exists()
    assert not ran.errors


def test_a_front_that_is_given_is_in_it(ran: Visit) -> None:
    run = ran.work.store.all_runs()[0]
    front = Front(run.cost.machine, Quantity.ENERGY, (), ())
    start_report(ran.work, run, front)
    wait_idle(ran.work)
    text = file_of(ran).read_text(encoding="utf-8")
    assert "chosen, measured" in text
    assert "No front of other choices" not in text


def test_a_front_of_another_machine_is_refused_at_once(ran: Visit) -> None:
    run = ran.work.store.all_runs()[0]
    with pytest.raises(ValueError, match="run's machine"):
        start_report(ran.work, run, Front("another", Quantity.ENERGY, (), ()))
