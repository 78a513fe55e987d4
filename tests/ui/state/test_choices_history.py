from ui.state.choices_history import LONGEST, History


def test_undo_and_redo_go_through_all_values() -> None:
    history = History(0)
    for value in (1, 2, 3):
        history.change(value)
    seen = []
    for _ in range(4):
        seen.append(history.present)
        history.undo()
    assert seen == [3, 2, 1, 0]
    assert history.past == []
    for _ in range(4):
        history.redo()
    assert (history.present, history.future) == (3, [])


def test_a_change_after_undo_forgets_what_was_undone() -> None:
    history = History("a")
    history.change("b")
    history.undo()
    history.change("c")
    history.redo()
    assert (history.present, history.past) == ("c", ["a"])


def test_the_same_value_is_no_change() -> None:
    history = History((8, 8))
    history.change((8, 8))
    assert (history.version, history.past) == (0, [])


def test_the_version_tells_every_move_and_only_moves() -> None:
    history = History(0)
    versions = [history.version]
    history.change(1)
    versions.append(history.version)
    history.undo()
    versions.append(history.version)
    history.redo()
    versions.append(history.version)
    history.redo()
    assert versions == [0, 1, 2, 3]
    assert history.version == 3


def test_the_past_is_bounded() -> None:
    history = History(0)
    for value in range(1, LONGEST + 50):
        history.change(value)
    assert len(history.past) == LONGEST
    assert history.past[0] == 49
