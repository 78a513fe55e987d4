"""Open ten tabs with different models at one server, and look for what one sees of another.

python -m benchmarks.tabs [--tabs 10] [--rounds 3] prints a row for each tab.

Each tab is a client of the app's WebSocket, as a browser is: it chooses a sample model, waits until
the model is loaded, and visits the pages. The first tab starts a sweep, and the second a run, both
of which go on while the others work. A tab must see its own model and no run but its own; the log
of the server must hold no exception.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from streamlit.proto.BackMsg_pb2 import BackMsg  # noqa: TID251  the messages of its clients
from streamlit.proto.Element_pb2 import Element  # noqa: TID251  the messages of its clients
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg  # noqa: TID251  the messages of its clients
from streamlit.proto.WidgetStates_pb2 import WidgetState  # noqa: TID251  the messages of its clients
from websockets.sync.client import ClientConnection, connect

from sample_models.registry import SAMPLES

ROOT = Path(__file__).parent.parent
PAGES = ("", "ranges", "sensitivity", "configure", "repair", "runs", "tradeoffs", "export")
PATIENCE_S = 300.0
START_S = 120.0
POLL_S = 1.0
RUN, SWEEP = "FormSubmitter:runs.start-Run", "sensitivity.start"


class StuckError(RuntimeError):
    """A page or a load that did not end in time."""


@dataclass(eq=False)
class Seen:
    """What the last page run of a tab showed."""

    texts: list[str] = field(default_factory=list)
    buttons: dict[str, bool] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take_element(self, element: Element) -> None:
        """Keep what an element says."""
        kind = element.WhichOneof("type")
        if kind == "markdown":
            self.texts.append(element.markdown.body)
        elif kind == "button":
            self.buttons[element.button.id] = element.button.disabled
        elif kind == "exception":
            self.problems.append(f"{element.exception.type}: {element.exception.message}")
        elif kind == "alert":
            self.texts.append(element.alert.body)

    def button_with_key(self, key: str) -> str | None:
        """Return the identity of an enabled button with a key; None without one."""
        return next(
            (one for one, off in self.buttons.items() if not off and one.endswith(key)), None
        )

    def context_line(self, label: str) -> str:
        """Return what the side bar says under a label such as Model."""
        found = [text for text in self.texts if text.startswith(f"{label}  \n")]
        return found[-1].partition("\n")[2].strip("* ").replace("\\", "") if found else ""


@dataclass(eq=False)
class Tab:
    """A browser tab: one connection, the key of its workspace, and what its pages took."""

    number: int
    sample: str
    connection: ClientConnection
    query: str = ""
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def run_page(self, page: str, clicked: str | None = None) -> Seen:
        """Run a page's script, with a click on a button; return what the page showed."""
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.page_name = page
        if clicked is not None:
            state = WidgetState(id=clicked, trigger_value=True)
            message.rerun_script.widget_states.widgets.append(state)
        begun = time.monotonic()
        self.connection.send(message.SerializeToString())
        seen = self._read_page(begun + PATIENCE_S, page)
        self.seconds.append(time.monotonic() - begun)
        self.faults += seen.problems
        return seen

    def _read_page(self, until: float, page: str) -> Seen:
        seen = Seen()
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise StuckError(f"tab {self.number} waits for the page {page or 'model'!r}")
            try:
                data = self.connection.recv(timeout=left)
            except TimeoutError:
                continue
            message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
            kind = message.WhichOneof("type")
            if kind == "new_session":
                seen = Seen()
            elif kind == "page_info_changed":
                self.query = message.page_info_changed.query_string
            elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                seen.take_element(message.delta.new_element)
            elif kind == "script_finished":
                ended = message.script_finished
                if ended in (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_EARLY_FOR_RERUN):
                    if ended == ForwardMsg.FINISHED_SUCCESSFULLY:
                        return seen
                else:
                    seen.problems.append(f"page {page!r} ended with {ended}")
                    return seen

    def load_sample(self) -> None:
        """Choose the sample, and wait until the side bar names it."""
        seen = self.run_page("")
        button = seen.button_with_key(f"model.use.{self.sample}")
        if button is not None:
            seen = self.run_page("", button)
        until = time.monotonic() + PATIENCE_S
        while seen.context_line("Model") != self.sample:
            if time.monotonic() > until:
                raise StuckError(f"tab {self.number} waits for {self.sample}")
            time.sleep(POLL_S)
            seen = self.run_page("")

    def visit_pages(self, rounds: int) -> None:
        """Visit the pages; note every page that tells of another model."""
        for _ in range(rounds):
            for page in PAGES:
                seen = self.run_page(page)
                if (shown := seen.context_line("Model")) != self.sample:
                    self.faults.append(f"{page or 'model'} shows the model {shown!r}")
                own_run = self.number == 1
                if page == "runs" and not own_run and seen.button_with_key("runs.delete"):
                    self.faults.append("runs shows a run of another tab")

    def start_job(self, page: str, key: str) -> None:
        """Press the button that starts a job."""
        button = self.run_page(page).button_with_key(key)
        if button is None:
            self.faults.append(f"{page} has no button {key}")
            return
        self.run_page(page, button)


def work_in_tab(number: int, sample: str, address: str, rounds: int) -> Tab:
    """Do all that a tab does."""
    with connect(  # type: ignore[call-overload]
        f"ws://{address}/_stcore/stream",
        origin=f"http://{address}",
        subprotocols=["streamlit"],
        max_size=None,
        open_timeout=PATIENCE_S,
        ping_interval=None,
    ) as connection:
        tab = Tab(number, sample, connection)
        try:
            tab.load_sample()
            if number == 0:
                tab.start_job("sensitivity", SWEEP)
            elif number == 1:
                tab.start_job("runs", RUN)
            tab.visit_pages(rounds)
        except (StuckError, OSError) as error:
            tab.faults.append(f"{type(error).__name__}: {error}")
    return tab


def start_server(runs: Path, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the app for several visitors; return the process and the address that answers."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    words = ["-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    server = subprocess.Popen(
        [sys.executable, *words, "--server.address", "0.0.0.0"],
        cwd=ROOT,
        env={**os.environ, "QUANTSCOPE_RUNS": str(runs)},
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    address, until = f"localhost:{port}", time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://{address}/_stcore/health", timeout=5):
                return server, address
        except OSError:
            time.sleep(0.2)
    server.kill()
    sys.exit(f"The server did not start: {log.read_text()}")


def main() -> None:
    """Print the table, and what the log of the server holds of exceptions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tabs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    names = list(SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        server, address = start_server(Path(folder) / "runs", log)
        try:
            with ThreadPoolExecutor(arguments.tabs) as pool:
                work = [
                    pool.submit(work_in_tab, n, names[n % len(names)], address, arguments.rounds)
                    for n in range(arguments.tabs)
                ]
                tabs = [one.result() for one in work]
        finally:
            server.terminate()
            server.wait(START_S)
        print("| tab | model | pages | median s | slowest s | faults |\n|---|---|---|---|---|---|")
        for tab in tabs:
            times = sorted(tab.seconds)
            middle = times[len(times) // 2]
            faults = "; ".join(tab.faults) or "none"
            cells = f"{tab.sample} | {len(times)} | {middle:.2f} | {times[-1]:.2f} | {faults}"
            print(f"| {tab.number} | {cells} |")
        written = log.read_text()
        print(f"exceptions in the log: {written.count('Traceback')}")
        if "Traceback" in written:
            print(written[-4000:])


if __name__ == "__main__":
    main()
