"""Sensitivity, ranges and comparisons of a model whose output is no row of classes."""

from pathlib import Path

import pytest

from analysis.sensitivity.sweep import Depth
from tests.commands.test_tasks import file_of
from tests.pages.test_tasks import with_data, with_model
from tests.pages.visit import RUNS, Visit
from ui.navigation import SENSITIVITY

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", ["segments", "tokens", "detector"])
def test_every_page_opens(visit: Visit, tmp_path: Path, name: str) -> None:
    with_data(with_model(visit, file_of(name, tmp_path)), name)
    visit.open(RUNS).press("Run").wait()
    for page in ("sensitivity", "ranges", "configure", "repair", "tradeoffs", "runs", "model"):
        visit.open(f"pages/{page}.py").wait()
        assert visit.errors == [], page


@pytest.mark.parametrize("name", ["segments", "detector"])
def test_a_sweep_without_classes_speaks_of_sqnr(visit: Visit, tmp_path: Path, name: str) -> None:
    with_data(with_model(visit, file_of(name, tmp_path)), name)
    visit.open(SENSITIVITY)
    visit.at.multiselect(key="sensitivity.bits").set_value([4])
    visit.at.segmented_control(key="sensitivity.depth").set_value(Depth.EXACT)
    visit.run().wait()
    visit.press("sensitivity.start").wait()
    assert "the output is no row of classes: SQNR stands for accuracy" in visit.words
    found = visit.at.dataframe[0].value
    assert len(found) > 0
    assert visit.errors == []
