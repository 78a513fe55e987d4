"""Kill work again and again with -9 and count what is lost: four commands, and a job of the app.

python -m benchmarks.kills [--kills 100] [--seed 0] prints a row for each kind of work.

A process that has loaded everything forks a child for each attempt; the child does what the
command or the app's job does, and is killed at a seeded moment after its first write: before,
nothing can be lost. What is lost is the processor time since the child last wrote to its folder.
After each kill the store must be whole, and in the end the answer must equal that of an undisturbed
run. When a folder holds the answer, another begins.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import torch

from accelerator.machine import load_preset
from analysis.runs.experiment import Experiment
from analysis.runs.run_experiment import measure_experiment
from analysis.runs.run_store import RunStore
from analysis.split import ImageChoice, choose_data_split
from analysis.study import Study
from cli import app
from commands.inputs import MACHINE, open_network
from quant.config import uniform_config
from quant.progress import Steps
from ui.job_kind import JobKind
from ui.jobs import Job, JobRunner

MODEL = "fashion-mobilenet"
MOST_LOST_S = 1.0
PATIENCE_S = 600.0
FAILURE = "failure"
TICKS = os.sysconf("SC_CLK_TCK")
CHANGING = {"seconds", "forwards", "id", "started", "created", "time", "store", "runs", "known",
            "state"}  # fmt: skip
"""Keys of an answer that tell of the run and its folder, not of the network."""


@dataclass(eq=False)
class Row:
    """What came of one kind of work."""

    kills: int = 0
    finished: int = 0
    damaged: int = 0
    different: int = 0
    lost_s: list[float] = field(default_factory=list)

    def cells(self) -> str:
        """Return the cells of the table."""
        worst = max(self.lost_s, default=0.0)
        over = sum(lost > MOST_LOST_S for lost in self.lost_s)
        return (
            f"{self.kills} | {worst:.2f} | {over} | {self.damaged} | {self.finished} | "
            f"{self.different}"
        )


def run_command(*words: str, model: str = MODEL) -> Callable[[Path], object]:
    """Return a command with an answer in JSON, as work in a folder."""

    def work(folder: Path) -> object:
        given = [word.replace("FOLDER", str(folder)) for word in words]
        written = StringIO()
        with redirect_stdout(written), redirect_stderr(StringIO()):
            app([*given, "--model", model], standalone_mode=False)
        return json.loads(written.getvalue())

    return work


def run_app_job(folder: Path) -> object:
    """Do what Run and compare does: a job of the app measures an experiment and keeps the run."""
    with redirect_stderr(StringIO()):
        network = open_network(MODEL, None, None)
    config = uniform_config(8, 8)
    experiment = Experiment(config, load_preset(MACHINE))
    split = choose_data_split(MODEL, network, config, ImageChoice(samples=1000, calibration=32))
    store = RunStore(folder)
    study = Study.of_split(network, split, store)

    def steps() -> Steps[None]:
        store.save_run((yield from measure_experiment(study, experiment)))

    runner = JobRunner()
    runner.submit(Job(JobKind.RUN, "run", steps, lambda _: None))
    while runner.active_jobs:
        runner.take_results()  # as a page does
        time.sleep(0.01)
    if runner.last is not None and runner.last.problem is not None:
        raise runner.last.problem
    newest = store.all_runs()[0].evaluation
    return [newest.quantized_top1, newest.sqnr_db]


WORK: dict[str, Callable[[Path], object]] = {
    "sensitivity": run_command(
        "sensitivity", "--samples", "128", "--bits", "8,3", "--role", "weights",
        "--calibration", "0", "--memory", "2", "--runs", "FOLDER",
    ),
    "evaluate": run_command(
        "evaluate", "--samples", "1000", "--calibration", "32", "--resume", "FOLDER",
    ),
    "optimize": run_command(
        "optimize", "--machine", "bitfusion_like", "--budget", "energy=0.9",
        "--relative-to", "w8a8", "--calibration", "32", "--samples", "200", "--measure",
        "--runs", "FOLDER",
    ),
    "train": run_command(
        "train", "--weight-bits", "3", "--activation-bits", "4", "--steps", "60",
        "--samples", "500", "--calibration", "32", "--write-every", "1", "--runs", "FOLDER",
        model="letter-mlp",
    ),
    "app": run_app_job,
}  # fmt: skip


def steady(answer: object) -> object:
    """Return an answer without what tells of the run."""
    if isinstance(answer, dict):
        return {k: steady(v) for k, v in answer.items() if k not in CHANGING}
    return [steady(v) for v in answer] if isinstance(answer, list) else answer


def start(work: Callable[[Path], object], folder: Path) -> int:
    """Fork a child that works and writes the answer; return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        found = work(folder)
        (folder / "answer").write_text(json.dumps(found))
        code = 0
    except BaseException:  # noqa: BLE001  what ended the child is told by its parent
        (folder / FAILURE).write_text(traceback.format_exc())
    finally:
        os._exit(code)


def processor_s(child: int) -> float:
    """Return the processor time of a living child."""
    try:
        words = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / TICKS


def last_write(folder: Path) -> float:
    """Return the time of the last write of results into a folder."""
    times = []
    for path in folder.rglob("*"):
        try:
            times.append(path.stat().st_mtime)
        except OSError:  # a journal that is gone by now
            continue
    return max(times, default=0.0)


@dataclass(frozen=True)
class Watched:
    """What was seen of a child: processor time at its first and last write, and in all."""

    first_s: float | None
    last_s: float | None
    spent_s: float
    ended: bool


def watch(child: int, folder: Path, linger_s: float = math.inf) -> Watched:
    """Wait until a child ends, or has spent `linger_s` of a processor since its first write."""
    until = time.monotonic() + PATIENCE_S
    seen, spent = last_write(folder), 0.0
    first: float | None = None
    last: float | None = None
    while time.monotonic() < until:
        ended, _ = os.waitpid(child, os.WNOHANG)
        if ended:
            return Watched(first, last, spent, ended=True)
        spent = processor_s(child)
        if (written := last_write(folder)) > seen:
            seen, last = written, spent
            first = spent if first is None else first
        if first is not None and spent - first >= linger_s:
            break
        time.sleep(0.005)
    return Watched(first, last, spent, ended=False)


def is_whole(folder: Path) -> bool:
    """Tell whether the databases of a folder are whole, and none was put aside."""
    for path in folder.glob("*.sqlite"):
        with closing(sqlite3.connect(path, timeout=30)) as database:
            if database.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                return False
    return not [path for path in folder.iterdir() if "damaged" in path.name]


def reason_of_end(folder: Path) -> str:
    """Return the traceback of a child that ended without an answer."""
    written = folder / FAILURE
    return written.read_text() if written.exists() else "it ended without an exception"


def kill_again_and_again(name: str, kills: int, draw: random.Random, place: Path) -> Row:
    """Kill one kind of work and compare its answers with an undisturbed one."""
    work, row = WORK[name], Row()
    alone = place / f"{name} alone"
    alone.mkdir()
    whole = watch(start(work, alone), alone)
    if not (alone / "answer").exists() or whole.first_s is None:
        sys.exit(f"{name} failed by itself: {reason_of_end(alone)}")
    expected = steady(json.loads((alone / "answer").read_text()))
    writing_s = whole.spent_s - whole.first_s
    folder, number = alone, 0
    while row.kills < kills or not (folder / "answer").exists():
        if (folder / "answer").exists():
            number += 1
            folder = place / f"{name} {number}"
            folder.mkdir()
        last = row.kills >= kills
        child = start(work, folder)
        share = draw.uniform(0, 1.05)
        seen = watch(child, folder, math.inf if last else share * writing_s)
        if not seen.ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            row.kills += 1
            row.lost_s += [] if seen.last_s is None else [seen.spent_s - seen.last_s]
        row.damaged += not is_whole(folder)
        if (folder / "answer").exists():
            row.finished += 1
            found = steady(json.loads((folder / "answer").read_text()))
            row.different += found != expected
        elif seen.ended:
            sys.exit(f"{name} failed by itself: {reason_of_end(folder)}")
    return row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", choices=list(WORK), action="append", help="all by default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| work | kills | most lost s | over 1 s | damaged | finished | different |")
    print("|---" * 7 + "|")
    place = Path(tempfile.mkdtemp())
    try:
        chosen = arguments.work or list(WORK)
        for index, name in enumerate(chosen):
            share = arguments.kills // len(chosen) + (index < arguments.kills % len(chosen))
            draw = random.Random(f"{arguments.seed} {name}")
            row = kill_again_and_again(name, share, draw, place)
            print(f"| {name} | {row.cells()} |", flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
