"""The page Train: the three counts, a training beside the page, its outcome, and where it goes."""

from pathlib import Path

import pytest

from analysis.session_file import read_session_file, write_session_json
from quant.training.state.use_training import UseTraining
from tests.pages.visit import Visit, data_choice, leave_choices, model_choice
from ui.session.open_session import open_session, present_session
from ui.state.new_workspace import new_workspace

pytestmark = pytest.mark.filterwarnings("ignore")
TRAIN = "pages/train.py"
LETTER, ROWS = model_choice("letter-mlp"), data_choice("letter")


@pytest.fixture
def visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Visit:
    monkeypatch.setenv("QUANTSCOPE_RUNS", str(tmp_path))
    leave_choices(tmp_path, model=LETTER, data=ROWS)
    return Visit().wait().open(TRAIN)


def test_a_trained_network_goes_through_run_session_and_reload(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any("1000 others watch" in one.value for one in visit.at.caption)
    visit.at.number_input(key="train.steps").set_value(4)
    visit.run().press("train.start").wait()
    visit.run()
    outcome = visit.work.training.outcome
    assert outcome is not None
    assert outcome.state.record.steps == 4
    assert any("4 steps saw 128 rows" in one.value for one in visit.at.caption)
    visit.press("train.use")
    (step,) = visit.work.experiment.recipe
    assert isinstance(step, UseTraining)
    assert visit.at.button(key="train.use").disabled
    # a new tab, or a restarted server, finds the trained weights again
    again = new_workspace()
    (kept,) = again.experiment.recipe
    assert isinstance(kept, UseTraining)
    assert kept.state.digest == outcome.state.digest
    # and a session carries them to another folder of runs
    text = write_session_json(present_session(visit.work))
    monkeypatch.setenv("QUANTSCOPE_RUNS", str(tmp_path / "elsewhere"))
    other = new_workspace()
    open_session(other, read_session_file(text.encode()))
    (carried,) = other.experiment.recipe
    assert isinstance(carried, UseTraining)
    assert carried.state.digest == outcome.state.digest
    assert list((tmp_path / "elsewhere" / "trainings").glob("*.safetensors"))
    # a training goes on from its weights
    visit.open(TRAIN)
    visit.at.number_input(key="train.more").set_value(2)
    visit.run().press("train.continue").wait()
    visit.run()
    longer = visit.work.training.outcome
    assert longer is not None
    assert longer.task.settings.steps == 2
    assert longer.before.quantized_top1 == outcome.after.quantized_top1


def test_rates_and_arms_run_beside_the_page(visit: Visit) -> None:
    visit.at.number_input(key="train.steps").set_value(2)
    visit.run().press("train.find").wait()
    visit.run()
    assert visit.work.training.rates is not None
    assert any("rate" in one.value and "loss" in one.value for one in visit.at.caption)
    visit.at.multiselect(key="train.arms.methods").set_value(
        ["learned steps (STE)", "float, trained as long"]
    )
    visit.run().press("train.arms").wait()
    visit.run()
    assert [str(one.arm) for one in visit.work.training.arms] == [
        "learned steps (STE)",
        "float, trained as long",
    ]
