"""The pictures of docs/guide.md, taken from the running app, so that they stay true.

Run with: python -m benchmarks.screenshots [--out docs/guide] [--width 1280] [--dark]

A server of its own starts on an empty folder of runs, with the sample whose channels are unequal at
8 bits per tensor; Chromium walks the three ways of the guide and keeps a picture of each stop.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

from accelerator.machine import load_preset
from analysis.runs.experiment import Experiment
from quant.config import uniform_config
from quant.spec import Granularity
from ui.state.last_choices import write_choices
from ui.state.model_and_data import DataChoice, ModelChoice
from ui.state.snapshot import write_snapshot
from ui.state.workspace import DEFAULT_MACHINE

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
MODEL, IMAGES = "fashion-mobilenet-imbalanced", 300
PATIENCE_MS = 900_000
STILL_MS = 1000
COLORS = 128
LARGEST_BYTES = 150_000


@contextmanager
def running_app(runs: Path) -> Iterator[str]:
    """Start the app on a folder of runs; yield the address once the app answers."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    environment = {**os.environ, "QUANTSCOPE_RUNS": str(runs)}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    address = f"http://localhost:{port}"
    try:
        while not _is_healthy(address):
            if server.poll() is not None:
                raise RuntimeError("The app must start; it ended. Run `make run` to see why.")
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def choose_sample(runs: Path) -> None:
    """Write down the choices with which the app opens."""
    config = uniform_config(8, 8, Granularity.PER_TENSOR)
    experiment = Experiment(config, load_preset(DEFAULT_MACHINE))
    data = replace(DataChoice(), samples=IMAGES)
    write_choices(runs, write_snapshot(ModelChoice(MODEL), data, experiment, ""))


class Walk:
    """A tab of Chromium that walks through the app and keeps pictures."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page, self.folder = page, folder

    def wait_idle(self) -> None:
        """Wait until no job is under way and nothing moves."""
        progress = self.page.get_by_test_id("stSidebar").get_by_test_id("stProgress")
        for _ in range(2):
            expect(progress).to_have_count(0)
            expect(self.page.locator("[data-test-script-state=notRunning]")).to_be_visible()
            self.page.wait_for_timeout(STILL_MS)

    def open_page(self, name: str) -> None:
        """Open a page by its name in the navigation."""
        self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
        self.wait_idle()

    def press(self, name: str) -> None:
        """Press a button of the page and wait for what it starts."""
        self._button(name).click()
        self.page.wait_for_timeout(STILL_MS)
        self.wait_idle()

    def _button(self, name: str) -> Locator:
        place = self.page.get_by_test_id("stMain")
        return place.get_by_role("button", name=re.compile(name)).first

    def keep_picture(self, name: str, below: str = "") -> None:
        """Keep what is in the window, scrolled to the text `below`, as a small PNG file."""
        if below:
            self.page.get_by_test_id("stMain").get_by_text(re.compile(below)).first.evaluate(
                "element => element.scrollIntoView({block: 'start'})"
            )
        self.page.mouse.move(1, 1)  # no toolbar of a plot in the picture
        self.page.wait_for_timeout(STILL_MS)
        path = self.folder / f"{name}.png"
        self.page.screenshot(path=path)
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(COLORS).save(path, optimize=True)
        size = path.stat().st_size
        print(f"{path}: {size} bytes")
        if size > LARGEST_BYTES:
            raise RuntimeError(f"A picture must have {LARGEST_BYTES} bytes at most; got {size}.")


def walk_the_guide(walk: Walk) -> None:
    """Keep a picture of each stop of the guide."""
    walk.wait_idle()
    walk.keep_picture("model")
    walk.open_page("Run and compare")
    walk.press("^Run$|play_arrow Run")
    walk.keep_picture("run", below="^Runs$")
    walk.open_page("Sensitivity")
    walk.press("Screen")
    walk.keep_picture("sensitivity", below="Early stop")
    walk.open_page("Ranges")
    walk.keep_picture("ranges")
    walk.open_page("Repair")
    walk.press("Run the recipe")
    walk.keep_picture("repair", below="Use this recipe")
    walk.press("Use this recipe")
    walk.open_page("Run and compare")
    walk.press("^Run$|play_arrow Run")
    walk.keep_picture("repaired", below="^Runs$")
    walk.open_page("Export")
    walk.keep_picture("export")
    walk.open_page("Trade-offs")
    walk.press("Find the")
    walk.keep_picture("trade-offs")


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "guide")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE_MS)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = Path(folder) / "runs"
        choose_sample(runs)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        with running_app(runs) as address:
            context = browser.new_context(
                viewport={"width": options.width, "height": 720},
                color_scheme="dark" if options.dark else "light",
            )
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            page.goto(address)
            walk_the_guide(Walk(page, options.out))
        browser.close()


if __name__ == "__main__":
    main()
