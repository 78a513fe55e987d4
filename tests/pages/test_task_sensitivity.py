"""Sensitivity, ranges and comparisons of a model whose output is no row of classes."""

from pathlib import Path

import pytest

from tests.pages.test_tasks import with_data, with_model
from tests.pages.visit import RUNS, Visit
from tests.test_cli_tasks import file_of

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", ["segments", "tokens", "detector"])
def test_every_page_opens(visit: Visit, tmp_path: Path, name: str) -> None:
    with_data(with_model(visit, file_of(name, tmp_path)), name)
    visit.open(RUNS).press("Run").wait()
    for page in ("sensitivity", "ranges", "configure", "repair", "tradeoffs", "runs", "model"):
        visit.open(f"pages/{page}.py").wait()
        assert visit.errors == [], page
