import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from analysis.runs.run_store import RunStore
from tests.analysis.results import layer_cost, report, run

COST = report(layer_cost("a"))


def test_a_run_survives_reopening(tmp_path: Path) -> None:
    kept = run("first", COST, config={"version": 1, "rules": [{"select": "x"}]})
    RunStore(tmp_path / "new" / "folder").save_run(kept)
    assert RunStore(tmp_path / "new" / "folder").all_runs() == (kept,)


def test_the_newest_comes_first(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for name, created in (("b", "2026-01-02"), ("c", "2026-01-03"), ("a", "2026-01-01")):
        store.save_run(run(name, COST, created=created))
    store.save_run(run("same second, later", COST, created="2026-01-03"))
    assert [kept.name for kept in store.all_runs()] == ["same second, later", "c", "b", "a"]


def test_saving_again_replaces(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.save_run(run("old", COST, id="1"))
    store.save_run(run("new", COST, id="1"))
    assert [kept.name for kept in store.all_runs()] == ["new"]


def test_rename_and_delete(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for identity in "12":
        store.save_run(run(f"run {identity}", COST, id=identity))
    store.rename_run("1", "  better  ")
    store.delete_run("2")
    assert [(kept.id, kept.name) for kept in store.all_runs()] == [("1", "better")]


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused(tmp_path: Path, name: str) -> None:
    store = RunStore(tmp_path)
    store.save_run(run("kept", COST, id="1"))
    with pytest.raises(ValueError, match="must have a name"):
        store.rename_run("1", name)
    assert store.all_runs()[0].name == "kept"


def test_names_are_data_and_never_sql(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    name = "'); DROP TABLE runs; --"
    store.save_run(run(name, COST, id=name))
    assert store.all_runs()[0].name == name


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda i: store.save_run(run(f"run {i}", COST)), range(20)))
        seen = list(pool.map(lambda _: len(store.all_runs()), range(4)))
    assert seen == [20] * 4
    assert {kept.name for kept in store.all_runs()} == {f"run {i}" for i in range(20)}


def test_two_stores_on_one_file_see_each_other(tmp_path: Path) -> None:
    first, second = RunStore(tmp_path), RunStore(tmp_path)
    first.save_run(run("a", COST))
    assert [kept.name for kept in second.all_runs()] == ["a"]


def test_runs_of_another_format_are_ignored(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.save_run(run("readable", COST))
    with closing(sqlite3.connect(str(store.path))) as database, database:
        row = ("x", "of the future", "2099", 99, "{}")
        database.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", row)
    assert [kept.name for kept in store.all_runs()] == ["readable"]


def test_tags_and_a_note_stay_with_a_run_and_only_the_owner_writes_them(tmp_path: Path) -> None:
    mine, other = RunStore(tmp_path, "user a"), RunStore(tmp_path, "user b")
    mine.save_run(run("kept", COST, id="1"))
    mine.annotate_run("1", (" for the  review ", "", "baseline", "baseline"), " ='); --<b>\n")
    other.annotate_run("1", ("stolen",), "not mine")
    mine.annotate_run("missing", ("x",), "")
    (kept,) = RunStore(tmp_path, "user a").all_runs()
    assert (kept.name, kept.tags, kept.note) == (
        "kept",
        ("for the review", "baseline"),
        "='); --<b>",
    )
    mine.rename_run("1", "better")
    assert mine.all_runs()[0].tags == kept.tags


@pytest.mark.parametrize(
    ("tags", "note", "words"),
    [
        (["x" * 25], "", "at most 24 letters; got 1, the longest of 25"),
        ([str(i) for i in range(9)], "", "at most 8 tags"),
        ([], "x" * 1001, "at most 1000 letters; got 1001"),
    ],
)
def test_tags_and_notes_are_bounded(tmp_path: Path, tags: list[str], note: str, words: str) -> None:
    store = RunStore(tmp_path)
    store.save_run(run("kept", COST, id="1"))
    with pytest.raises(ValueError, match=words):
        store.annotate_run("1", tags, note)
    assert store.all_runs()[0].tags == ()
