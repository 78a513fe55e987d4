"""The page Train: the three counts, a training beside the page, its outcome."""

from pathlib import Path

import pytest

from tests.pages.visit import Visit, leave_choices

pytestmark = pytest.mark.filterwarnings("ignore")
TRAIN = "pages/train.py"


def test_a_training_runs_beside_the_page_and_tells_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTSCOPE_RUNS", str(tmp_path))
    letter: dict[str, object] = {
        "source": "letter-mlp",
        "builder": None,
        "input_shape": [],
        "shown": None,
    }
    data = {"source": "letter", "preprocess": "", "calibration": 32, "samples": 200, "seed": 0}
    leave_choices(tmp_path, model=letter, data=data)
    visit = Visit().wait().open(TRAIN)
    assert any("1000 others watch" in one.value for one in visit.at.caption)
    visit.at.number_input(key="train.steps").set_value(4)
    visit.run().press("train.start").wait()
    visit.run()
    outcome = visit.work.training.outcome
    assert outcome is not None
    assert outcome.state.record.steps == 4
    assert outcome.after.samples == 200
    assert any("--trained " + outcome.task.stored_name in code.value for code in visit.at.code)
