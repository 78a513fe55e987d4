"""The same bits whoever computes them; nothing lost when a worker is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from distributed import LocalCluster

from analysis.runs.run_store import RunStore
from analysis.sensitivity.analyze import analyze_exactly, kept_sensitivity
from analysis.sensitivity.exact.dask_executor import Cluster, open_dask_cluster
from analysis.sensitivity.exact.executors import Pool, Serial, Workers, available_core_count
from analysis.sensitivity.exact.work_unit import Outcome, Unit, run_work_unit
from analysis.sensitivity.sweep import Sweep, View
from analysis.study import Study
from quant.config import uniform_config
from quant.engine.program import Program
from quant.errors import QuantError
from quant.inputs import first_output_of
from quant.progress import drain_steps
from quant.simulation.plan import Side
from tests.analysis.sweeps import Case, case, dataset

CHUNKS_OF_FOUR = 20_000  # bytes, of the net named kitchen
FEW = Sweep(uniform_config(8, 8), bits=(4,), sides=(Side.WEIGHTS,), memory_bytes=2**19)
SWEEP = Sweep(uniform_config(8, 8), bits=(8, 3), sides=tuple(Side), memory_bytes=CHUNKS_OF_FOUR)


def answers(it: Case, workers: Workers, view: View = View.ONLY) -> tuple[object, ...]:
    found = drain_steps(analyze_exactly(it.study(), replace(SWEEP, view=view), workers))
    return found.scores, found.whole, found.float_top1


@contextmanager
def loopback_cluster(workers: int) -> Iterator[LocalCluster]:
    """Worker processes behind a scheduler on loopback."""
    with pytest.MonkeyPatch.context() as patch:
        # a new process runs the main module once more; tests of pages leave app.py in its place
        patch.setitem(sys.modules, "__main__", ModuleType("__main__"))
        with LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as started:
            yield started


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with loopback_cluster(2) as started:
        yield started


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_pool_gives_what_one_thread_gives(view: View, count: int) -> None:
    it = case("kitchen")
    assert answers(it, Pool(count), view) == answers(it, Serial(), view)


def test_threads_of_a_pool_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def note(program: Program, unit: Unit) -> Iterator[Outcome]:
        seen.append(unit.memory_bytes)
        return run_work_unit(program, unit)

    monkeypatch.setattr("analysis.sensitivity.exact.executors.run_work_unit", note)
    answers(case("kitchen"), Serial())
    answers(case("kitchen"), Pool(4))
    assert set(seen) == {CHUNKS_OF_FOUR, CHUNKS_OF_FOUR // 4}


def test_results_do_not_depend_on_torchs_threads() -> None:
    it, before = case("gated"), torch.get_num_threads()
    alone = answers(it, Serial())
    try:
        torch.set_num_threads(2)
        assert answers(it, Serial()) == alone
        assert answers(it, Pool(2)) == alone
        assert torch.get_num_threads() == 2  # as it was found
    finally:
        torch.set_num_threads(before)


def test_a_pool_has_a_thread_for_each_core() -> None:
    assert Pool().count == available_core_count() >= 1


def test_closing_a_pool_stops_its_threads(tmp_path: Path) -> None:
    it, store = case("kitchen"), RunStore(tmp_path)
    work = analyze_exactly(it.study(store), SWEEP, Pool(2))
    for _ in range(20):
        next(work)
    work.close()
    assert not [t for t in threading.enumerate() if "ThreadPool" in t.name]
    now = kept_sensitivity(it.study(store), SWEEP)
    assert now.scores
    assert sum(score.images for score in now.scores) < 46 * 12


def test_what_goes_wrong_in_a_pool_is_told() -> None:
    it = case("kitchen")
    inputs, labels = it.data.source.read(range(8))
    wrong = dataset(first_output_of(inputs)[:, :2], labels)  # a channel is missing
    for workers in (Serial(), Pool(2)):
        with pytest.raises(RuntimeError, match="channels"):
            drain_steps(
                analyze_exactly(Study(it.network, wrong, calibrated=it.calibrated), SWEEP, workers)
            )


@pytest.mark.parametrize("view", View)
def test_a_cluster_gives_the_same_bits(cluster: LocalCluster, view: View) -> None:
    workers = open_dask_cluster(cluster.scheduler_address)
    assert workers == Cluster(cluster.scheduler_address, 2)
    assert answers(case("kitchen"), workers, view) == answers(case("kitchen"), Serial(), view)


def test_a_worker_killed_in_the_middle_loses_nothing(cluster: LocalCluster, tmp_path: Path) -> None:
    it, store = case("fashion-mobilenet", 32), RunStore(tmp_path)
    workers = open_dask_cluster(cluster.scheduler_address)
    work = analyze_exactly(it.study(store), FEW, workers)
    before = {worker.pid for worker in cluster.workers.values()}
    seen = 0
    while True:
        try:
            next(work)
        except StopIteration as stop:
            found = stop.value
            break
        seen += 1
        if seen == 10:
            os.kill(min(before), signal.SIGKILL)
    alone = drain_steps(analyze_exactly(it.study(), FEW, Serial()))
    assert seen > 10
    assert found.scores == alone.scores
    assert kept_sensitivity(it.study(store), FEW).scores == alone.scores


def test_a_cluster_can_be_left_in_the_middle(cluster: LocalCluster, tmp_path: Path) -> None:
    it, store = case("fashion-mobilenet", 32), RunStore(tmp_path)
    workers = open_dask_cluster(cluster.scheduler_address)
    work = analyze_exactly(it.study(store), FEW, workers)
    for _ in range(10):
        next(work)
    work.close()
    left = kept_sensitivity(it.study(store), FEW)
    rest = drain_steps(analyze_exactly(it.study(store), FEW, workers))
    alone = drain_steps(analyze_exactly(it.study(), FEW, Serial()))
    assert left.scores
    assert rest.scores == alone.scores
    assert rest.forwards < alone.forwards


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.sensitivity.exact.dask_executor.CONNECT_S", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense"):
        with pytest.raises(QuantError, match="A Dask scheduler must answer at"):
            open_dask_cluster(address)


def test_a_scheduler_that_goes_in_the_middle_is_told_and_answers_stay(tmp_path: Path) -> None:
    it, store = case("fashion-mobilenet", 32), RunStore(tmp_path)
    with loopback_cluster(1) as started:
        work = analyze_exactly(it.study(store), FEW, open_dask_cluster(started.scheduler_address))
        for _ in range(10):
            next(work)
        started.close()
        with pytest.raises(QuantError, match="scheduler must answer until the sweep ends"):
            drain_steps(work)
    assert kept_sensitivity(it.study(store), FEW).scores


def test_a_scheduler_without_quantscope_is_told(tmp_path: Path) -> None:
    """A process that was started in another folder, as on another machine."""
    path = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    options = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(path)]
    bare = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    none = subprocess.DEVNULL
    with subprocess.Popen(
        [*command, *options], cwd=tmp_path, env=bare, stdout=none, stderr=none
    ) as scheduler:
        try:
            while not path.exists():
                time.sleep(0.05)
            address = json.loads(path.read_text())["address"]
            with pytest.raises(QuantError, match="must import QuantScope, got ModuleNotFoundError"):
                open_dask_cluster(address)
        finally:
            scheduler.kill()


def test_a_scheduler_without_workers_is_told() -> None:
    with loopback_cluster(0) as started, pytest.raises(QuantError, match="has none"):
        open_dask_cluster(started.scheduler_address)
