"""Files of results that SQLite cannot use: one sentence, nothing lost, and work goes on."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import analysis.runs.database as database_module
from analysis.runs.database import Database, StoreError
from analysis.runs.run_store import RunStore
from analysis.sensitivity.exact.answer_store import Cells
from tests.analysis.results import layer_cost, report, run

COST = report(layer_cost("a"))


def filled(folder: Path) -> Path:
    store = RunStore(folder)
    for number in range(20):
        store.save_run(run(f"run {number}", COST))
    store.keep_answer("question", [1, 2, 3])
    assert store.path is not None
    return store.path


def damaged(content: bytes, seed: int) -> bytes:
    """Return what a full disk, a bad cable or a careless copy makes of a file."""
    draw = random.Random(seed)
    match seed % 5:
        case 0:
            return content[: draw.randrange(1, len(content))]
        case 1:
            return draw.randbytes(draw.randrange(1, 5000))
        case 2:
            place = draw.randrange(len(content))
            return content[:place] + draw.randbytes(200) + content[place + 200 :]
        case 3:
            return bytes(1024) + content[1024:]
        case _:
            changed = bytearray(content)
            for _ in range(40):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            return bytes(changed)


def test_a_damaged_file_ends_in_a_sentence_or_in_what_can_be_read(tmp_path: Path) -> None:
    content = filled(tmp_path / "whole").read_bytes()
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "runs.sqlite").write_bytes(damaged(content, seed))
        said = ""
        for _ in range(2):  # what was put aside makes room
            try:
                store = RunStore(folder)
                store.all_runs()
                store.find_answer("question")
                store.save_run(run("new", COST, id="new"))
                assert "new" in {kept.id for kept in store.all_runs()}
                break
            except StoreError as error:
                said = str(error)
        else:
            pytest.fail(f"seed {seed} fails twice: {said}")
        assert not said or "runs.sqlite" in said


def test_what_is_no_database_is_put_aside_and_kept(tmp_path: Path) -> None:
    (tmp_path / "runs.sqlite").write_bytes(b"a letter to my aunt" * 99)
    store = RunStore(tmp_path)
    store.save_run(run("new", COST))
    assert [kept.name for kept in store.all_runs()] == ["new"]
    (aside,) = tmp_path.glob("runs.damaged-*.sqlite")
    assert aside.read_bytes() == b"a letter to my aunt" * 99


def test_a_database_of_another_program_is_put_aside(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as other, other:
        other.execute("CREATE TABLE runs (kilometres REAL)")
    with pytest.raises(StoreError, match=r"runs.sqlite must be a file of QuantScope's results"):
        RunStore(tmp_path)
    assert RunStore(tmp_path).all_runs() == ()
    assert len(list(tmp_path.glob("runs.damaged-*"))) == 1


def test_a_locked_file_is_told_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert database_module.WAIT_S <= 5
    monkeypatch.setattr(database_module, "WAIT_S", 0.05)
    path = filled(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="another program has held it"):
            RunStore(tmp_path).all_runs()
        with pytest.raises(StoreError, match="another program has held it"):
            Cells(path)
    assert len(RunStore(tmp_path).all_runs()) == 20


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="must have a folder that can be written"):
        RunStore(tmp_path / "file" / "runs")
    (tmp_path / "runs.sqlite").mkdir()
    with pytest.raises(StoreError, match="must be a file that can be read and written"):
        RunStore(tmp_path)


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.save_run(run("before", COST))

    def small(path: Path, timeout: float) -> sqlite3.Connection:
        found = real(path, timeout=timeout)
        found.execute(f"PRAGMA max_page_count = {pages}")
        return found

    real = sqlite3.connect
    with closing(real(store.path)) as database:  # type: ignore[arg-type]
        (pages,) = database.execute("PRAGMA page_count").fetchone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(StoreError, match="Make room"):
            store.keep_answer("long", "x" * 100_000)
    assert [kept.name for kept in store.all_runs()] == ["before"]


def test_owners_see_and_change_nothing_of_each_other(tmp_path: Path) -> None:
    mine, a, b = (RunStore(tmp_path, owner) for owner in ("", "session a", "user b"))
    for store, name in ((mine, "m"), (a, "a"), (b, "b")):
        store.save_run(run(name, COST, id=name))
        store.keep_answer("question", name)
    assert [[kept.name for kept in store.all_runs()] for store in (mine, a, b)] == [
        ["m"],
        ["a"],
        ["b"],
    ]
    assert [store.find_answer("question") for store in (mine, a, b)] == ["m", "a", "b"]
    a.rename_run("b", "stolen")
    a.delete_run("m")
    a.save_run(run("mine now", COST, id="b"))
    assert [kept.name for kept in b.all_runs()] == ["b"]
    assert [kept.name for kept in mine.all_runs()] == ["m"]
    assert {kept.name for kept in a.all_runs()} == {"a", "mine now"}
    a.forget_owner()
    assert a.all_runs() == ()
    assert a.find_answer("question") is None
    assert [kept.name for kept in b.all_runs()] == ["b"]
    assert mine.find_answer("question") == "m"
    with pytest.raises(ValueError, match="run by run"):
        mine.forget_owner()


def test_a_database_in_memory_is_closed_with_its_last_user() -> None:
    """Python 3.13 warns of connections that are left open."""
    database = Database(None, ["CREATE TABLE IF NOT EXISTS t (x)"], {"t": ["x"]})
    with database.open_connection() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    del database
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT x FROM t")
