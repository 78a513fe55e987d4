"""A server of its own and Chromium; skipped where there is no Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.pages.visit import ROOT, leave_choices

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
START_S = 60
PATIENCE_MS = 150_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def serve(runs: Path) -> Iterator[str]:
    """Start the app as a person does, and yield its address once it answers."""
    port = free_port()
    address = f"http://localhost:{port}"
    with (runs.parent / "server.log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
            cwd=ROOT, env={**os.environ, "QUANTSCOPE_RUNS": str(runs)}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + START_S
            while not answers(f"{address}/_stcore/health"):
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    pytest.fail(f"The server did not start: {log.read()}")
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            server.wait(START_S)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="session")
def fresh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server; the first test that uses it is its first visitor."""
    runs = tmp_path_factory.mktemp("served") / "runs"
    leave_choices(runs)
    with serve(runs) as address:
        yield address


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[str]:
    """A server without runs, for one test alone."""
    runs = tmp_path / "runs"
    leave_choices(runs)
    with serve(runs) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new browser profile with one tab."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def patience() -> Iterator[None]:
    """What is expected may take as long as a busy machine needs."""
    expect.set_options(timeout=PATIENCE_MS)
    yield
    expect.set_options(timeout=5_000)
