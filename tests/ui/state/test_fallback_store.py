"""The app goes on without a file of runs, and writes into it when it is there again."""

import os
from pathlib import Path

import pytest

import ui.state.fallback_store as module
from tests.analysis.results import layer_cost, report, run
from ui.state.fallback_store import FallbackStore
from ui.state.last_choices import MOST_TABS, SNAPSHOT, tab_choices, write_choices

COST = report(layer_cost("a"))


def test_memory_stands_in_and_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    place = tmp_path / "place"
    place.write_text("in the way")
    store = FallbackStore(place / "runs")
    assert "must have a folder that can be written" in store.problem
    store.save_run(run("a", COST, id="1"))
    store.save_run(run("b", COST, id="2"))
    store.keep_answer("question", 7)
    store.rename_run("1", "c")
    store.delete_run("2")
    assert store.path is None
    assert [kept.name for kept in store.all_runs()] == ["c"]
    assert store.find_answer("question") == 7
    place.unlink()
    assert [kept.name for kept in store.all_runs()] == ["c"]
    assert store.problem == ""
    again = FallbackStore(place / "runs")
    assert [kept.name for kept in again.all_runs()] == ["c"]
    assert again.find_answer("question") == 7


def test_a_file_that_breaks_while_it_is_used(tmp_path: Path) -> None:
    store = FallbackStore(tmp_path)
    store.save_run(run("a", COST))
    (tmp_path / "runs.sqlite").unlink()
    (tmp_path / "runs.sqlite").mkdir()
    store.save_run(run("b", COST))
    assert "must be a file that can be read and written" in store.problem
    assert [kept.name for kept in store.all_runs()] == ["b"]


def test_choices_are_whole_or_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_choices(tmp_path, '{"a": 1}')

    def full(descriptor: int) -> None:
        del descriptor
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    write_choices(tmp_path, '{"a": 2}')
    assert [path.name for path in tmp_path.iterdir()] == [SNAPSHOT]
    assert (tmp_path / SNAPSHOT).read_text() == '{"a": 1}'


def test_the_choices_of_the_tabs_changed_last_are_there_and_no_other_file_is_reached(
    tmp_path: Path,
) -> None:
    keys = [f"{number:012x}" for number in range(MOST_TABS + 1)]
    for age, key in enumerate(keys):
        write_choices(tmp_path, key, key)
        place = tab_choices(tmp_path, key)
        assert place is not None
        os.utime(place, (age, age))
    write_choices(tmp_path, "newest", keys[1])
    assert tab_choices(tmp_path, keys[0]) is None
    found = tab_choices(tmp_path, keys[1])
    assert found is not None
    assert found.read_text() == "newest"
    assert (tmp_path / SNAPSHOT).read_text() == "newest"
    (tmp_path / "secret.json").write_text("{}")
    assert tab_choices(tmp_path, "../secret") is None
