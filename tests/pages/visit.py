"""A visit to the app without a browser: Streamlit's AppTest, and waiting for jobs."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Element

from quant.config import uniform_config
from ui.jobs import Job
from ui.state.last_choices import SNAPSHOT
from ui.state.workspace import Workspace

ROOT = Path(__file__).parents[2]
MODEL, CONFIGURE, RUNS = "pages/model.py", "pages/configure.py", "pages/runs.py"
PATIENCE_S = 600  # a busy machine is slow; a test that hangs is found all the same


def encodings_of(layer: str) -> str:
    """Return an AIMET file that has a grid of steps of a half for the output of one layer."""
    encoding = {"name": layer, "y_scale": 0.5, "y_zero_point": 0, "output_dtype": "uint8"}
    return json.dumps({"version": "2.0.0", "encodings": [encoding]})


def model_choice(source: str) -> dict[str, object]:
    """Return the choice of a sample or of a file's path as a visit writes it down."""
    return {"source": source, "builder": None, "input_shape": [], "shown": None}


def data_choice(source: str, calibration: int = 32, samples: int = 200) -> dict[str, object]:
    """Return the choice of a sample's data or of a path as a visit writes it down."""
    return {
        "source": source, "preprocess": "", "calibration": calibration, "samples": samples,
        "seed": 0,
    }  # fmt: skip


def leave_choices(runs: Path, **other: Any) -> None:
    """Write down choices as an earlier visit would have: fashion-mobilenet on 200 images."""
    runs.mkdir(parents=True, exist_ok=True)
    choices = {
        "model": model_choice("fashion-mobilenet"),
        "data": data_choice("fashion"),
        "machine": "edge_systolic_8b",
        "config": uniform_config(8, 8).to_dict(),
        "config_name": "W8A8 per-channel",
    }
    (runs / SNAPSHOT).write_text(json.dumps({**choices, **other}))


def read(markdown: str) -> str:
    """Return a text as a browser shows what `plain` made of it."""
    return re.sub(r"\\([\\`*_{}\[\]<>#~$:])", r"\1", markdown)


class Visit:
    """One browser tab. Every step fails the test if the page shows an exception."""

    def __init__(self, key: str = "") -> None:
        self.at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=PATIENCE_S)
        if key:
            self.at.query_params["w"] = key
        self.run()

    @property
    def work(self) -> Workspace:
        found = self.at.session_state["workspace"]
        assert isinstance(found, Workspace)
        return found

    def run(self) -> "Visit":
        self.at.run()
        assert not self.at.exception, [e.value for e in self.at.exception]
        return self

    def open(self, page: str) -> "Visit":
        self.at.switch_page(str(ROOT / page))
        return self.run()

    def press(self, key: str) -> "Visit":
        """Press the button of that key or, for the button of a form, of that label."""
        found = [b for b in self.at.button if key in (b.key, b.label)]
        assert len(found) == 1, (key, [(b.key, b.label) for b in self.at.button])
        assert not found[0].disabled
        found[0].click()
        return self.run()

    def choose(self, key: str, value: Any) -> "Visit":
        self.at.selectbox(key=key).set_value(value)
        return self.run()

    def upload(self, key: str, name: str, content: bytes) -> "Visit":
        self.at.file_uploader(key=key).upload(name, content)
        return self.run()

    def use_encodings(self, layer: str) -> "Visit":
        """Bring a file with a grid for the output of one layer into use, on Configure."""
        self.open(CONFIGURE)
        self.upload("configure.open", "mine.encodings", encodings_of(layer).encode())
        return self.press("configure.use")

    def wait(self) -> "Visit":
        """Wait until no job is left, then draw the page as the fragment would."""
        wait_idle(self.work)
        return self.run()

    def metric(self, label: str) -> Any:
        """Return the card of that label."""
        (found,) = (m for m in self.at.metric if m.label == label)
        return found

    @property
    def errors(self) -> list[str]:
        return [read(e.value) for e in self.at.error]

    @property
    def words(self) -> str:
        """All running text as a person reads it: on the page, in the sidebar, in toasts."""
        return read(self.markdown)

    @property
    def markdown(self) -> str:
        """The same text as Streamlit gets it."""
        kinds = ("markdown", "caption", "info", "warning", "error", "toast", "subheader")
        places = (self.at.main, self.at.sidebar, self.at)
        found = [
            item.value
            for place in places
            for kind in kinds
            for item in place.get(kind)
            if isinstance(item, Element)
        ]
        return "\n".join(map(str, found))

    def links(self) -> list[str]:
        return [link.proto.label for link in self.at.get("page_link")]


def wait_idle(work: Workspace) -> None:
    """Wait until no job is left, and take what they brought, as the next page would."""
    deadline = time.monotonic() + PATIENCE_S
    while work.runner.active_jobs or work.runner.current is not None:
        assert time.monotonic() < deadline, [j.title for j in work.runner.active_jobs]
        time.sleep(0.01)
        work.runner.take_results()


@contextmanager
def held_jobs() -> Iterator[threading.Event]:
    """Hold jobs before their first step, cancelled or not, so that a test sees them run.

    The event lets the jobs go on; the end of the context sets it.
    """
    go_on, drive = threading.Event(), Job._drive_steps

    def wait_and_drive(job: Job, steps: Any) -> None:
        go_on.wait()
        drive(job, steps)

    with patch.object(Job, "_drive_steps", wait_and_drive):
        try:
            yield go_on
        finally:
            go_on.set()


def submit(work: Workspace, job: Job) -> Job:
    """Queue a job and wait for its end."""
    work.runner.submit(job)
    wait_idle(work)
    return job
