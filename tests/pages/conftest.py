"""A folder for runs of its own, and workspaces that are closed after each test."""

import gc
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.pages_manager import PagesManager

import ui.state.model_and_data
from tests.pages.visit import Visit, leave_choices, wait_idle
from tests.shared_answers import SHARED, replace_everywhere
from ui.frame.workspace_registry import process_registry


@pytest.fixture(scope="session", autouse=True)
def _traced_once() -> Iterator[None]:
    """Trace each sample once for all tests: networks are frozen, and tracing takes a second."""
    real = ui.state.model_and_data.load_chosen_network
    patch = pytest.MonkeyPatch()
    kept: dict[str, Any] = {}

    def load(choice: ui.state.model_and_data.ModelChoice) -> Any:
        if choice.shown is None and choice.source in kept:
            return kept[choice.source]
        network = yield from real(choice)
        kept[choice.source] = network
        return network

    for place in ("ui.state.model_and_data", "ui.state.new_workspace", "ui.model.load_network"):
        patch.setattr(f"{place}.load_chosen_network", load)
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _scanned_once() -> Iterator[None]:
    """Look for packages with Streamlit components once: each visit reads a hundred packages."""
    real = manifest_scanner.scan_component_manifests
    patch = pytest.MonkeyPatch()
    patch.setattr(manifest_scanner, "scan_component_manifests", cache(real))
    yield
    patch.undo()


@pytest.fixture(scope="package", autouse=True)
def _answered_once() -> Iterator[None]:
    """Work out once what a sample answers to the same images; each test keeps runs of its own."""
    patch = pytest.MonkeyPatch()
    for real, shared in SHARED:
        replace_everywhere(patch, real, shared)
    yield
    patch.undo()


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Collect garbage after each file: the app does whenever it is opened, half a second."""
    yield
    gc.collect()
    gc.freeze()  # as tests/conftest.py


class VisitedBefore(PagesManager):
    """Pages as a server knows them after its first visit.

    AppTest forgets before every run that app.py called st.navigation, and would run a page
    without app.py. The browser tests open a page on a fresh server.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        PagesManager.uses_pages_directory = False


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of runs; paths on this machine are open."""
    monkeypatch.setattr("streamlit.testing.v1.app_test.PagesManager", VisitedBefore)
    monkeypatch.setattr("ui.frame.workspace_registry.freeze_garbage", gc.freeze)
    folder = tmp_path / "runs"
    monkeypatch.setenv("QUANTSCOPE_RUNS", str(folder))
    monkeypatch.setenv("QUANTSCOPE_LOCAL_PATHS", "1")
    yield folder
    works = list(process_registry().workspaces.values())
    process_registry().close_all()
    for work in works:
        wait_idle(work)
    process_registry.clear()
    gc.unfreeze()  # the app freezes what is loaded


@pytest.fixture
def visit(runs: Path) -> Visit:
    """The app on fashion-mobilenet with 200 images, the float network's accuracy measured."""
    leave_choices(runs)
    return Visit().wait()


@pytest.fixture
def saved(runs: Path) -> Callable[[], list[str]]:
    """Return the names of the runs in the store, the newest first."""
    from analysis.runs.run_store import RunStore

    return lambda: [run.name for run in RunStore(runs).all_runs()]


@pytest.fixture(scope="session")
def tiny_pt2() -> bytes:
    """A network of three classes over (1, 6, 6), as torch.export.save writes it."""
    from tests.model_io.pt2_files import exported

    return exported(dynamic=True)
