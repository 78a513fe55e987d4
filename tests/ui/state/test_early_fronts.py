"""The front of a running search: it precedes a front that was read from the store meanwhile."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ui.settings import Settings
from ui.state.tradeoffs import Found, FrontRequest
from ui.state.workspace import Workspace
from ui.tradeoffs.jobs import find_known_fronts


def test_the_front_of_a_running_search_precedes_the_stored_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may read the stored front first, which the trials of the job would not join."""
    monkeypatch.setattr("ui.tradeoffs.jobs.front_key", lambda *_: "key")
    work = Workspace(Settings(tmp_path / "runs", local_paths=False, upload_mib=1))
    stored, running = (cast("Found", SimpleNamespace(noises=())) for _ in range(2))
    work.tradeoffs.found["key"], work.tradeoffs.early["key"] = stored, running
    assert find_known_fronts(work, FrontRequest()) is running
    assert find_known_fronts(work, FrontRequest()) is running
