"""What every test gets: one thread, the same random numbers; and the order of the whole suite."""

import gc
import os
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from analysis.idle_threads import let_idle_threads_sleep

os.environ.setdefault("OMP_NUM_THREADS", "1")  # servers and commands that tests start inherit both
let_idle_threads_sleep()

import torch  # noqa: E402  OpenMP reads its settings when torch is imported

from analysis.process_settings import keep_freed_memory  # noqa: E402
from tests.random_numbers import restart_random_numbers  # noqa: E402

keep_freed_memory()
torch.set_num_threads(1)

HERE = Path(__file__).parent
# What one worker runs: files that share a server, or answers that take long. The slow come first.
COMPANIES = {
    "e2e": "browser",
    "pages/test_tradeoffs": "fronts",
    "pages/test_report": "fronts",
    "pages/test_session_file": "fronts",
    "pages/test_sensitivity": "fronts",
    "pages": "pages",
    "model_io/encodings": "files",
    "model_io/qdq_export": "files",
    "model_io/onnx_export": "files",
    "model_io/artefacts": "files",
    "commands": "commands",
    "quant/simulation": "trained",
    "quant/passes/test_repaired_accuracy": "trained",
}
ORDER = list(dict.fromkeys(COMPANIES.values()))
# These watch other threads and processes on a machine that may be busy. A test of theirs that fails
# runs once more; the end of the output shows the first failure, which may be a race of the product.
UNSTEADY = ("browser", "fronts", "pages", "commands")


def company(path: Path) -> str:
    """Return the name of what a file's tests run with: the longest place that is given, or it."""
    place = path.relative_to(HERE).with_suffix("").as_posix()
    places = [start for start in COMPANIES if f"{place}/".startswith(f"{start}/")]
    return COMPANIES[max(places, key=len)] if places else place


class CompanyScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Send the tests of a company to one worker.

    `--dist loadgroup` would, but writes the group into an attribute that pytest 9.2 does not read:
    without a word, each test goes to any worker, and each worker makes what files share.
    """

    def _split_scope(self, nodeid: str) -> str:
        return company(HERE.parent / nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> CompanyScheduling:
    """Return the scheduler of the whole suite."""
    return CompanyScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests, the slow companies first."""
    names = {item: company(item.path) for item in items}
    for item, name in names.items():
        if name in UNSTEADY:
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: ORDER.index(names[item]) if names[item] in ORDER else len(ORDER))


def pytest_collection_finish() -> None:
    """Hide what is imported from the garbage collector: its walks were an eighth of the time."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the failures of tests that passed when they ran once more: someone must read them."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"failed at first: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin the random numbers anew, before the fixtures that a test is the first to need."""
    _restart_random_numbers()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Begin anew once more: a fixture of the file may have drawn numbers for the first test."""
    _restart_random_numbers()


def _restart_random_numbers() -> None:
    torch.manual_seed(0)
    restart_random_numbers()
